"""Many cards of one kind: how many to keep for rent, how fast to sell, what the standing bids would take. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from marketplace.fleet.advice import (
    ONE,
    ZERO,
    break_even,
    margin,
    money,
    rented_meanwhile,
    rounded_micros,
    share,
    value_in,
)
from marketplace.fleet.assumptions import Inputs

WEEKS_MAX = 26
WEEKS_PER_MONTH = Decimal(365) / 7 / 12
DAYS_COUNTED = 30
PRICE_LEFT_MIN = Decimal("0.45")  # what was paid for cards that had to go within a week (SpotWire, CC-BY-4.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """Selling `count` cards evenly. `proceeds_micros` is today's worth of all of it, renting what waits."""

    count: int
    per_week: int
    weeks: int
    price_micros: int  # of one of the first week's cards, before the cost of selling
    fall_basis_points: int  # what the week's own cards take off the price
    proceeds_micros: int


@dataclass(frozen=True, slots=True)
class Bids:
    """What the standing bids pay for `filled` of the asked cards, at `worst` for the last; the rest finds no bid."""

    asked: int
    filled: int
    average_micros: int | None
    worst_micros: int | None


def cards_to_rent(count: int, inputs: Inputs) -> int:
    """How many of `count` like cards to keep, the rest sold: those that the same demand would keep busy enough.

    The hours that are rented now, count × u, are all that is asked for; on fewer cards the share of each is higher.
    """
    enough = break_even(inputs)
    if enough is None or enough > ONE - share(inputs.own_share):
        return 0
    if enough <= 0:
        return count
    return min(count, int(count * share(inputs.rented_share) / enough))


def best_pace(count: int, inputs: Inputs) -> Pace | None:
    """How fast to sell `count` cards: slowly enough to spare the price, fast enough not to wait for its decline."""
    if inputs.card_value is None or count < 1:
        return None
    paces = [pace(count, weeks, inputs) for weeks in range(1, min(count, WEEKS_MAX) + 1)]
    return max(paces, key=lambda each: (each.proceeds_micros, -each.weeks))


def pace(count: int, weeks: int, inputs: Inputs) -> Pace:
    """Selling evenly over so many weeks."""
    per_week = -(-count // weeks)
    left, proceeds = count, ZERO
    waiting = margin(inputs, rented_meanwhile(inputs)) / WEEKS_PER_MONTH
    price_left = price_left_over(per_week, inputs)
    week = 0
    while left:
        sold = min(per_week, left)
        months = Decimal(week) / WEEKS_PER_MONTH
        price = value_in(inputs, months) * price_left * (ONE - share(inputs.selling_cost))
        left -= sold
        proceeds += (sold * price + left * waiting) / (ONE + share(inputs.money_cost)) ** months
        week += 1
    return Pace(
        count=count,
        per_week=per_week,
        weeks=week,
        price_micros=rounded_micros(money(inputs.card_value or 0) * price_left),
        fall_basis_points=int((ONE - price_left) * 10_000),
        proceeds_micros=rounded_micros(proceeds),
    )


def price_left_over(per_week: int, inputs: Inputs) -> Decimal:
    """Which part of the price is left when so many are sold in a week: 1 − k × q ÷ weekly volume, bounded below.

    Where nothing was sold for 30 days the volume counts as one card in that time.
    """
    weekly = Decimal(max(inputs.sold_30_days, 1)) * 7 / DAYS_COUNTED
    return max(ONE - share(inputs.impact) * per_week / weekly, PRICE_LEFT_MIN)


def bids_for(count: int, bids: Sequence[int]) -> Bids:
    """What selling `count` cards at once into these bids (one card each) would bring."""
    taken = sorted(bids, reverse=True)[:count]
    return Bids(
        asked=count,
        filled=len(taken),
        average_micros=sum(taken) // len(taken) if taken else None,
        worst_micros=taken[-1] if taken else None,
    )
