"""What the advice assumes: each number with its symbol, its default and where that comes from. Pure.

Shares are basis points, money is micros, so nothing is a fraction of money before the formulas use it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields


class Unit(enum.StrEnum):
    """How a value is written down."""

    MONEY = "money"
    SHARE = "share"  # basis points; 0.021 in the API, 2.1 % on a page
    SIGNED_SHARE = "signed_share"
    RATIO = "ratio"  # ten-thousandths; 1.3 everywhere
    WATTS = "watts"
    MONTHS = "months"
    COUNT = "count"


class Origin(enum.StrEnum):
    """Where a value comes from; the later wins over the earlier."""

    DEFAULT = "default"
    MARKET = "market"
    MEASURED = "measured"
    GIVEN = "given"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Kind:
    """One assumption that can be made, and between which values. Without a default it is measured, found or given."""

    name: str
    symbol: str
    label: str
    unit: Unit
    low: int
    high: int
    default: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Assumed:
    """A value and why."""

    kind: Kind
    value: int | None
    origin: Origin
    source: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The values alone, as the formulas take them."""

    card_value: int | None
    card_spread: int
    monthly_decline: int
    price_swing: int
    money_cost: int
    selling_cost: int
    rent_price: int | None
    rent_decline: int
    platform_fee: int
    rented_share: int
    own_share: int
    own_value: int
    energy_price: int
    pue: int
    load_watts: int
    idle_watts: int
    fixed_cost: int
    horizon_months: int
    buying_cost: int
    impact: int
    sold_30_days: int
    on_offer: int


WHOLE = 10_000  # basis points
PRICE_MAX = 1_000_000_000_000  # a million of the currency
KINDS: tuple[Kind, ...] = (
    Kind(
        "card_value",
        "V0",
        "Price of the card",
        Unit.MONEY,
        10_000,
        PRICE_MAX,
        None,
        "no guide: say what it would fetch",
    ),
    Kind(
        "card_spread",
        "σ0",
        "Spread of such prices",
        Unit.SHARE,
        0,
        10_000,
        0,
        "none: the price was given or there is no guide",
    ),
    Kind(
        "monthly_decline",
        "d",
        "Decline of its price a month",
        Unit.SIGNED_SHARE,
        -3_000,
        3_000,
        210,
        "2.1 % a month is 22 % a year, as used cards have lost; below zero when prices rise",
    ),
    Kind(
        "price_swing",
        "σ",
        "Swing of prices in a month",
        Unit.SHARE,
        0,
        5_000,
        500,
        "a guess until there is a series of ours",
    ),
    Kind(
        "money_cost",
        "r",
        "Cost of money a month",
        Unit.SHARE,
        0,
        1_000,
        100,
        "1 % a month; your own credit may cost less",
    ),
    Kind("selling_cost", "s", "Cost of selling", Unit.SHARE, 0, 9_000, 800, "fee, shipping and handling, of the price"),
    Kind(
        "rent_price",
        "p",
        "Price of an hour",
        Unit.MONEY,
        0,
        PRICE_MAX,
        None,
        "nothing traded: say what an hour would bring",
    ),
    Kind("rent_decline", "x", "Decline of the hour's price a month", Unit.SIGNED_SHARE, -3_000, 3_000, None, ""),
    Kind("platform_fee", "f", "Platform's fee on rent", Unit.SHARE, 0, 9_000, 500, "what this exchange takes"),
    Kind(
        "rented_share", "u", "Share of its hours rented", Unit.SHARE, 0, 10_000, 0, "no hour of such cards was rented"
    ),
    Kind(
        "own_share",
        "o",
        "Share of its hours that you use it yourself",
        Unit.SHARE,
        0,
        10_000,
        0,
        "never seen in use by you",
    ),
    Kind("own_value", "w", "What an hour of your own use is worth", Unit.MONEY, 0, PRICE_MAX, None, ""),
    Kind(
        "energy_price",
        "c",
        "Energy per kWh",
        Unit.MONEY,
        0,
        PRICE_MAX,
        80_000,
        "0.08, an industrial price; yours is on the bill",
    ),
    Kind(
        "pue",
        "PUE",
        "Power for cooling and losses",
        Unit.RATIO,
        10_000,
        30_000,
        13_000,
        "1.3: the room takes 30 % on top",
    ),
    Kind("load_watts", "Pl", "Power under load", Unit.WATTS, 0, 5_000, 400, "neither measured nor in the catalogue"),
    Kind("idle_watts", "Pi", "Power idle", Unit.WATTS, 0, 5_000, 25, "not measured yet"),
    Kind(
        "fixed_cost",
        "O",
        "Rack, operation, failures a month",
        Unit.MONEY,
        0,
        PRICE_MAX,
        5_000_000,
        "5.00 a card in a full host",
    ),
    Kind("horizon_months", "N", "Months looked ahead", Unit.MONTHS, 1, 36, 12, "a year; nobody sees farther"),
    Kind(
        "buying_cost",
        "b",
        "Cost of buying back",
        Unit.SHARE,
        0,
        9_000,
        300,
        "shipping and handling, of the price; taxes not",
    ),
    Kind(
        "impact", "k", "Fall of the price per week's volume sold at once", Unit.SHARE, 0, 10_000, 1_000, "a guess: 10 %"
    ),
    Kind("sold_30_days", "W", "Such cards sold here in 30 days", Unit.COUNT, 0, 100_000, 0, "no sale in 30 days"),
    Kind("on_offer", "A", "Such cards on offer here", Unit.COUNT, 0, 100_000, 0, "none on offer"),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


def assume(
    found: Mapping[str, tuple[int, Origin, str]], given: Mapping[str, int], *, given_source: str = "you said so"
) -> dict[str, Assumed]:
    """Every assumption: what is given, else what was found (value, origin, source), else the default."""
    assumed = {kind.name: _assumed(kind, found, given, given_source) for kind in KINDS}
    decline, rent = assumed["monthly_decline"].value, assumed["rent_price"].value
    if assumed["rent_decline"].value is None:
        # Hours are not expected to become dearer because cards do.
        assumed["rent_decline"] = _derived("rent_decline", max(decline or 0, 0), "the card's own decline, at least 0")
    free = WHOLE - (assumed["rented_share"].value or 0)
    if (assumed["own_share"].value or 0) > free:
        assumed["own_share"] = _derived("own_share", free, "what the rented hours leave")
    if assumed["own_value"].value is None:
        assumed["own_value"] = _derived("own_value", rent or 0, "what the same hour would cost to rent here")
    return assumed


def contradictions(given: Mapping[str, int]) -> dict[str, str]:
    """What can't all be so, by the name of one of them; each value alone is within its limits."""
    found = {}
    if given.get("rented_share", 0) + given.get("own_share", 0) > WHOLE:
        found["own_share"] = "rented and used by yourself are more hours than there are"
    if given.get("load_watts", math.inf) < given.get("idle_watts", 0):
        found["load_watts"] = "a card under load takes no less than an idle one"
    return found


def inputs_of(assumed: Mapping[str, Assumed]) -> Inputs:
    """The values alone."""
    return Inputs(**{each.name: assumed[each.name].value for each in fields(Inputs)})  # type: ignore[arg-type]


def _assumed(
    kind: Kind, found: Mapping[str, tuple[int, Origin, str]], given: Mapping[str, int], given_source: str
) -> Assumed:
    if kind.name in given:
        return Assumed(kind, given[kind.name], Origin.GIVEN, given_source)
    if kind.name in found:
        value, origin, source = found[kind.name]
        return Assumed(kind, value, origin, source)
    return Assumed(kind, kind.default, Origin.MISSING if kind.default is None else Origin.DEFAULT, kind.source)


def _derived(name: str, value: int, source: str) -> Assumed:
    return Assumed(BY_NAME[name], value, Origin.DEFAULT, source)
