"""The formulas of the advice with the numbers put in, so that anybody can work them out again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketplace.fleet.advice import (
    HOURS,
    Choice,
    Option,
    advise,
    break_even,
    keeping_cost,
    margin,
    money,
    required_price,
    share,
)
from marketplace.fleet.assumptions import Inputs


@dataclass(frozen=True, slots=True)
class Line:
    """One formula: what it is, in symbols, in numbers, and what comes out."""

    name: str
    symbol: str
    formula: str
    numbers: str
    result: str


def workings(inputs: Inputs) -> tuple[Line, ...]:
    """What was computed for a card, line by line; lines whose numbers are missing are left out."""
    lines = []
    if inputs.rent_price is not None:
        lines.append(_margin_line(inputs))
    if inputs.card_value is not None:
        lines.append(_keeping_line(inputs))
    if break_even(inputs) is not None:
        lines.append(_break_even_line(inputs))
    if required_price(inputs) is not None:
        lines.append(_required_line(inputs))
    return tuple(lines + _value_lines(inputs))


def plain(amount: Decimal, places: int | None = None) -> str:
    """A number as it is written in a formula: no needless zeros, or exactly so many places."""
    if places is not None:
        text = f"{amount:.{places}f}"
    else:
        text = f"{amount:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def percent(part: Decimal, places: int = 1) -> str:
    """`92.3 %`."""
    return f"{plain(part * 100, places)} %"


def _margin_line(inputs: Inputs) -> Line:
    u, o = plain(share(inputs.rented_share)), plain(share(inputs.own_share))
    p, f, w = plain(money(inputs.rent_price or 0)), plain(share(inputs.platform_fee)), plain(money(inputs.own_value))
    load, idle = _load(inputs), _idle(inputs)
    return Line(
        "What a month brings",
        "M(u)",
        "h × [u × (p × (1 − f) − c × PUE × (Pl − Pi)) + o × (w − c × PUE × (Pl − Pi)) − c × PUE × Pi] − O",
        f"{HOURS} × [{u} × ({p} × (1 − {f}) − {load}) + {o} × ({w} − {load}) − {idle}] − {_fixed(inputs)}",
        plain(margin(inputs, share(inputs.rented_share)), 2),
    )


def _keeping_line(inputs: Inputs) -> Line:
    d, r = plain(share(inputs.monthly_decline)), plain(share(inputs.money_cost))
    v, s = plain(money(inputs.card_value or 0)), plain(share(inputs.selling_cost))
    result = plain(keeping_cost(inputs), 2)
    return Line(
        "What a month of keeping costs", "R", "(d + r) × V0 × (1 − s)", f"({d} + {r}) × {v} × (1 − {s})", result
    )


def _needed(inputs: Inputs) -> tuple[str, str]:
    symbols = "R + O + h × c × PUE × Pi"
    numbers = f"{plain(keeping_cost(inputs), 2)} + {_fixed(inputs)} + {HOURS} × {_idle(inputs)}"
    if inputs.own_share:
        symbols += " − h × o × (w − c × PUE × (Pl − Pi))"
        o, w = plain(share(inputs.own_share)), plain(money(inputs.own_value))
        numbers += f" − {HOURS} × {o} × ({w} − {_load(inputs)})"
    return symbols, numbers


def _break_even_line(inputs: Inputs) -> Line:
    symbols, numbers = _needed(inputs)
    p, f = plain(money(inputs.rent_price or 0)), plain(share(inputs.platform_fee))
    return Line(
        "Rented share from which renting beats selling",
        "u*",
        f"({symbols}) ÷ (h × (p × (1 − f) − c × PUE × (Pl − Pi)))",
        f"({numbers}) ÷ ({HOURS} × ({p} × (1 − {f}) − {_load(inputs)}))",
        percent(break_even(inputs) or Decimal(0)),
    )


def _required_line(inputs: Inputs) -> Line:
    symbols, numbers = _needed(inputs)
    u, f = plain(share(inputs.rented_share)), plain(share(inputs.platform_fee))
    return Line(
        "Price of an hour from which it does",
        "p*",
        f"(({symbols}) ÷ (u × h) + c × PUE × (Pl − Pi)) ÷ (1 − f)",
        f"(({numbers}) ÷ ({u} × {HOURS}) + {_load(inputs)}) ÷ (1 − {f})",
        plain(required_price(inputs) or Decimal(0), 3),
    )


def _value_lines(inputs: Inputs) -> list[Line]:
    return [_value_line(inputs, option) for option in advise(inputs).options]


def _value_line(inputs: Inputs, option: Option) -> Line:
    v, s, d = plain(money(inputs.card_value or 0)), plain(share(inputs.selling_cost)), share(inputs.monthly_decline)
    r, x, n = plain(share(inputs.money_cost)), plain(share(inputs.rent_decline)), option.months
    month = "M(0, t)" if option.choice == Choice.KEEP else "M(u, t)"
    formula, numbers = "V0 × (1 − s)", f"{v} × (1 − {s})"
    if option.choice != Choice.SELL_NOW:
        formula = f"Σ {month} ÷ (1 + r)^t + V0 × e^(−d × n) × (1 − s) ÷ (1 + r)^n, t = 1 … n, p falling by x a month"
        sold = f"{v} × e^({plain(-d * n)}) × (1 − {s}) ÷ (1 + {r})^{n}"
        numbers = f"Σ {month} ÷ (1 + {r})^t + {sold}, t = 1 … {n}, x = {x}"
    return Line(
        f"Worth today: {option.choice.replace('_', ' ')}", "NPV", formula, numbers, plain(money(option.value_micros), 2)
    )


def _load(inputs: Inputs) -> str:
    return f"{_energy(inputs)} × ({_kilowatts(inputs.load_watts)} − {_kilowatts(inputs.idle_watts)})"


def _idle(inputs: Inputs) -> str:
    return f"{_energy(inputs)} × {_kilowatts(inputs.idle_watts)}"


def _energy(inputs: Inputs) -> str:
    return f"{plain(money(inputs.energy_price))} × {plain(share(inputs.pue))}"


def _kilowatts(watts: int) -> str:
    return plain(Decimal(watts) / 1000)


def _fixed(inputs: Inputs) -> str:
    return plain(money(inputs.fixed_cost))
