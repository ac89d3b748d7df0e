"""Keep, rent or sell a card: now, in three or in six months. Pure: integer micros in and out, decimals between.

    M(u) = h × [u × (p × (1 − f) − c × PUE × (Pl − Pi)) + o × (w − c × PUE × (Pl − Pi)) − c × PUE × Pi] − O
    R    = (d + r) × V0 × (1 − s)

M is what a month brings when the share u of its hours is rented and its owner uses the share o, R what a month of
keeping costs: the value lost and the money tied up. Renting beats selling this month when M(u) ≥ R; the u at which both
are equal is u*. Over several months the present value decides. With o = 0 these are the usual formulas of rent or sell.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from marketplace.fleet.assumptions import Inputs

HOURS = Decimal(730)
BASIS_POINTS = Decimal(10_000)
MICROS = Decimal(1_000_000)
CENT = Decimal("0.01")
ONE, ZERO = Decimal(1), Decimal(0)
P90 = Decimal("1.2816")  # so many standard deviations from the middle are the tenth and the ninetieth percentile
LATER = (3, 6)
CLOSE = Decimal("0.03")  # of the card's price


class Choice(enum.StrEnum):
    """What can be done with a card."""

    SELL_NOW = "sell_now"
    SELL_IN_3 = "sell_in_3_months"
    SELL_IN_6 = "sell_in_6_months"
    RENT = "rent"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Option:
    """One choice and what it is worth today: the middle, and what it falls short of or exceeds once in ten times."""

    choice: Choice
    months: int
    value_micros: int
    p10_micros: int
    p90_micros: int


@dataclass(frozen=True, slots=True)
class BuyBack:
    """What the way back would cost in six months, and whether there is one."""

    months: int
    cost_micros: int
    p10_micros: int
    p90_micros: int
    loss_micros: int  # beside what selling now brings
    sold_30_days: int
    on_offer: int

    @property
    def is_possible(self) -> bool:
        """Nobody can promise it; but where no such card changes hands or is on offer there is no way."""
        return self.sold_30_days + self.on_offer > 0


@dataclass(frozen=True, slots=True)
class Advice:
    """The answer. Without the card's price there is no verdict; without an hour's price none that means renting."""

    verdict: Choice | None
    verdict_p10: Choice | None  # were the card's price at the low end of its range
    verdict_p90: Choice | None
    is_close: bool
    options: tuple[Option, ...]
    margin_micros: int | None
    keeping_micros: int | None
    break_even: Decimal | None
    required_price_micros: int | None
    buy_back: BuyBack | None

    def option(self, choice: Choice) -> Option | None:
        """What this choice is worth."""
        return next((each for each in self.options if each.choice == choice), None)


def advise(inputs: Inputs) -> Advice:
    """Judge one card."""
    options = options_of(inputs)
    ranked = sorted(options, key=lambda option: -option.value_micros)  # stable: the sooner choice wins a tie
    low, high = (_at_edge(inputs, sign) for sign in (-1, 1))
    return Advice(
        verdict=ranked[0].choice if ranked else None,
        verdict_p10=best_of(low),
        verdict_p90=best_of(high),
        is_close=_is_close(ranked, inputs),
        options=options,
        margin_micros=None if inputs.rent_price is None else rounded_micros(margin(inputs, share(inputs.rented_share))),
        keeping_micros=None if inputs.card_value is None else rounded_micros(keeping_cost(inputs)),
        break_even=break_even(inputs),
        required_price_micros=_required_micros(inputs),
        buy_back=buy_back(inputs),
    )


def best_of(inputs: Inputs) -> Choice | None:
    """The choice alone."""
    options = options_of(inputs)
    return max(options, key=lambda option: option.value_micros).choice if options else None


def options_of(inputs: Inputs) -> tuple[Option, ...]:
    """Every choice that is open, the soonest first; none where the card's price is not known."""
    if inputs.card_value is None:
        return ()
    rented = rented_meanwhile(inputs)
    found = [_option(inputs, Choice.SELL_NOW, 0, ZERO)]
    for choice, months in zip((Choice.SELL_IN_3, Choice.SELL_IN_6), LATER, strict=True):
        if months < inputs.horizon_months:
            found.append(_option(inputs, choice, months, rented))
    if rented:
        found.append(_option(inputs, Choice.RENT, inputs.horizon_months, rented))
    found.append(_option(inputs, Choice.KEEP, inputs.horizon_months, ZERO))
    return tuple(found)


def rented_meanwhile(inputs: Inputs) -> Decimal:
    """The share of hours to rent until a sale: nothing where an hour costs more than it brings."""
    return share(inputs.rented_share) if inputs.rent_price is not None and hour_gain(inputs) > 0 else ZERO


def hour_gain(inputs: Inputs, *, months: int = 0) -> Decimal:
    """What a rented hour brings above an idle one: p × (1 − f) − c × PUE × (Pl − Pi)."""
    price = money(inputs.rent_price or 0) * (ONE - share(inputs.rent_decline)) ** months
    return price * (ONE - share(inputs.platform_fee)) - load_cost(inputs)


def load_cost(inputs: Inputs) -> Decimal:
    """What an hour under load costs above an idle one: c × PUE × (Pl − Pi)."""
    return energy(inputs) * (inputs.load_watts - inputs.idle_watts) / 1000


def energy(inputs: Inputs) -> Decimal:
    """What a kilowatt-hour in the card costs: c × PUE."""
    return money(inputs.energy_price) * share(inputs.pue)


def standing_cost(inputs: Inputs) -> Decimal:
    """What a month costs when nothing runs: O + h × c × PUE × Pi."""
    return money(inputs.fixed_cost) + HOURS * energy(inputs) * inputs.idle_watts / 1000


def own_gain(inputs: Inputs) -> Decimal:
    """What the owner's use is worth in a month: h × o × (w − c × PUE × (Pl − Pi)); nobody uses a card at a loss."""
    return HOURS * share(inputs.own_share) * max(money(inputs.own_value) - load_cost(inputs), ZERO)


def margin(inputs: Inputs, rented: Decimal, *, months: int = 0) -> Decimal:
    """M(u), `months` from now."""
    rent = HOURS * rented * hour_gain(inputs, months=months) if rented else ZERO
    return rent + own_gain(inputs) - standing_cost(inputs)


def keeping_cost(inputs: Inputs) -> Decimal:
    """R."""
    lost = share(inputs.monthly_decline) + share(inputs.money_cost)
    return lost * money(inputs.card_value or 0) * (ONE - share(inputs.selling_cost))


def break_even(inputs: Inputs) -> Decimal | None:
    """u*: the rented share at which a month of renting is as good as selling; None where no share is."""
    if inputs.card_value is None or inputs.rent_price is None or hour_gain(inputs) <= 0:
        return None
    needed = keeping_cost(inputs) + standing_cost(inputs) - own_gain(inputs)
    return needed / (HOURS * hour_gain(inputs))


def required_price(inputs: Inputs) -> Decimal | None:
    """p*: the hour's price at which the present rented share would be u*; None when nothing is rented."""
    rented = share(inputs.rented_share)
    if inputs.card_value is None or not rented:
        return None
    needed = keeping_cost(inputs) + standing_cost(inputs) - own_gain(inputs)
    return (needed / (rented * HOURS) + load_cost(inputs)) / (ONE - share(inputs.platform_fee))


def value_in(inputs: Inputs, months: Decimal | int) -> Decimal:
    """V0 × e^(−d × months)."""
    return money(inputs.card_value or 0) * (-share(inputs.monthly_decline) * months).exp()


def band(inputs: Inputs, months: int) -> Decimal:
    """By which factor the price may be off once in ten times each way: e^(1.28 × √(σ0² + σ² × months))."""
    variance = share(inputs.card_spread) ** 2 + share(inputs.price_swing) ** 2 * months
    return (P90 * variance.sqrt()).exp()


def buy_back(inputs: Inputs, *, months: int = 6) -> BuyBack | None:
    """The way back."""
    if inputs.card_value is None:
        return None
    cost = value_in(inputs, months) * (ONE + share(inputs.buying_cost))
    factor = band(dataclasses.replace(inputs, card_spread=0), months)
    sold = money(inputs.card_value) * (ONE - share(inputs.selling_cost))
    return BuyBack(
        months=months,
        cost_micros=rounded_micros(cost),
        p10_micros=rounded_micros(cost / factor),
        p90_micros=rounded_micros(cost * factor),
        loss_micros=rounded_micros(cost - sold),
        sold_30_days=inputs.sold_30_days,
        on_offer=inputs.on_offer,
    )


def money(micros: int) -> Decimal:
    """Micros as an amount."""
    return Decimal(micros) / MICROS


def share(basis_points: int) -> Decimal:
    """Basis points as a share."""
    return Decimal(basis_points) / BASIS_POINTS


def rounded_micros(amount: Decimal) -> int:
    """An estimate, to the hundredth: more places would pretend to know."""
    return int(amount.quantize(CENT, ROUND_HALF_EVEN) * MICROS)


def _option(inputs: Inputs, choice: Choice, months: int, rented: Decimal) -> Option:
    earned = sum(
        (margin(inputs, rented, months=month) / _discount(inputs, month + 1) for month in range(months)), start=ZERO
    )
    sold = value_in(inputs, months) * (ONE - share(inputs.selling_cost)) / _discount(inputs, months)
    factor = band(inputs, months)
    return Option(
        choice,
        months,
        rounded_micros(earned + sold),
        rounded_micros(earned + sold / factor),
        rounded_micros(earned + sold * factor),
    )


def _discount(inputs: Inputs, months: int) -> Decimal:
    return (ONE + share(inputs.money_cost)) ** months


def _at_edge(inputs: Inputs, sign: int) -> Inputs:
    if inputs.card_value is None:
        return inputs
    factor = band(inputs, 1)
    value = Decimal(inputs.card_value) * (factor if sign > 0 else ONE / factor)
    return dataclasses.replace(inputs, card_value=int(value))


def _is_close(ranked: list[Option], inputs: Inputs) -> bool:
    if len(ranked) < 2:
        return False
    return ranked[0].value_micros - ranked[1].value_micros < CLOSE * (inputs.card_value or 0)


def _required_micros(inputs: Inputs) -> int | None:
    needed = required_price(inputs)
    return None if needed is None else int((needed * 1000).to_integral_value(ROUND_HALF_EVEN)) * 1000
