"""What a card is worth, from completed sales only. Pure: integer micros in and out.

An asking price says what somebody hopes for; only what was paid counts. Sales far from the others are dropped, recent
ones weigh more, and when too little is left nothing is published: `marketplace/fleet/hedonic.py` may then say what like
cards would fetch, and says that it is a model. No number leaves this module without what it is based on.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from marketplace.fleet.quantiles import effective_count, weighted_quantile, within_deviations

HALF_LIFE = timedelta(days=21)
EFFECTIVE_MIN = 5
SALES_SINCE = timedelta(days=180)
MONTH = timedelta(days=365) / 12
TREND_SALES_MIN, TREND_SALES_MAX = 12, 200
TREND_SPAN, APART = timedelta(days=30), timedelta(days=7)
NORMAL_P75 = 0.6745


class CompletedSale(Protocol):
    """A sale whose money was released; nobody's name is in it."""

    @property
    def at(self) -> datetime: ...
    @property
    def model_slug(self) -> str: ...
    @property
    def memory_mib(self) -> int: ...
    @property
    def function_grade(self) -> str: ...
    @property
    def appearance_grade(self) -> str: ...
    @property
    def is_modified(self) -> bool: ...
    @property
    def region(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def price_micros(self) -> int: ...
    @property
    def is_linked(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Decline:
    """What a card loses in a month, in basis points of its price; below zero when prices rise."""

    basis_points: int
    sale_count: int


class Method(enum.StrEnum):
    """How a guide was made."""

    SALES = "sales"
    HEDONIC = "hedonic"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which card is asked about; an empty grade or region, or no memory, means any."""

    model_slug: str
    memory_mib: int | None
    currency: str
    function_grade: str = ""
    appearance_grade: str = ""
    region: str = ""
    is_modified: bool | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """Half of such cards went for p25 to p75. `basis` belongs to every showing of them."""

    method: Method
    currency: str
    p25_micros: int
    p50_micros: int
    p75_micros: int
    sale_count: int
    dropped_count: int
    effective_count: float
    updated_at: datetime | None
    pooled: tuple[str, ...] = field(default=())  # what was asked for and had to be left open
    prior: str = ""
    linked_count: int = 0  # between firms with one owner, which say nothing
    pulled_count: int = 0  # so far from the rest that the model counts them as nearer

    @property
    def basis(self) -> str:
        """`based on 12 sales, updated 2026-11-20`, and what else the reader must know."""
        if self.method == Method.HEDONIC:
            like = f"a model, not a market price: based on {_sales(self.sale_count)} of like cards and {self.prior}"
            return ", ".join([like, *self._left_out()])
        parts = [f"based on {_sales(self.sale_count)}"]
        if self.updated_at:
            parts.append(f"updated {self.updated_at:%Y-%m-%d}")
        return ", ".join([*parts, *self._left_out(), *(f"any {name}" for name in self.pooled)])

    def _left_out(self) -> list[str]:
        said = [(self.dropped_count, "as far from the rest"), (self.linked_count, "as between linked firms")]
        pulled = [f"{self.pulled_count} far from the rest counted as nearer"] if self.pulled_count else []
        return [*(f"{count} left out {why}" for count, why in said if count), *pulled]

    @property
    def spread(self) -> float:
        """The standard deviation of the logarithm of a price, as the middle half of the sales shows it."""
        return math.log(self.p75_micros / self.p25_micros) / (2 * NORMAL_P75)


def price_guide(sales: Sequence[CompletedSale], *, currency: str, now: datetime) -> Guide | None:
    """The guide of sales of like cards in one currency; None when they are too few to say anything."""
    told = [sale for sale in sales if sale.currency == currency and sale.price_micros > 0 and sale.at <= now]
    eligible = [sale for sale in told if not sale.is_linked]
    priced = [(sale.price_micros, weight_of(now - sale.at)) for sale in eligible]
    flags = within_deviations(priced)
    kept = [sale for sale, is_kept in zip(eligible, flags, strict=True) if is_kept]
    weighted = [each for each, is_kept in zip(priced, flags, strict=True) if is_kept]
    effective = effective_count([weight for _, weight in weighted])
    if effective < EFFECTIVE_MIN:
        return None
    return Guide(
        method=Method.SALES,
        currency=currency,
        p25_micros=weighted_quantile(weighted, 0.25),
        p50_micros=weighted_quantile(weighted, 0.50),
        p75_micros=weighted_quantile(weighted, 0.75),
        sale_count=len(kept),
        dropped_count=len(eligible) - len(kept),
        effective_count=effective,
        updated_at=max(sale.at for sale in kept),
        linked_count=len(told) - len(eligible),
    )


def weight_of(age: timedelta) -> float:
    """How much a sale still says: half after three weeks."""
    return float(2.0 ** -(age / HALF_LIFE))


def guide_for(sales: Sequence[CompletedSale], wanted: Wanted, *, now: datetime) -> Guide | None:
    """The narrowest guide there is: exactly such cards first, then from any region, of any appearance, any grade.

    A modified card is never priced by factory ones, nor the other way round, and one memory size never by another.
    """
    asked = [name for name, wish, _ in WISHES if wish(wanted)]
    same = [sale for sale in sales if is_same_card(sale, wanted)]
    for given_up in range(len(asked) + 1):
        pooled = tuple(asked[:given_up])
        matching = [sale for sale in same if _matches(sale, wanted, pooled)]
        if found := price_guide(matching, currency=wanted.currency, now=now):
            return dataclasses.replace(found, pooled=pooled)
    return None


def monthly_decline(sales: Sequence[CompletedSale], wanted: Wanted, *, now: datetime) -> Decline | None:
    """How fast such cards lose value: the median of the slopes between any two sales that lie a week or more apart.

    So no single odd sale, nor a quarter of them, turns the answer round. None when the sales are few or close together.
    """
    same = [
        sale
        for sale in sales
        if is_same_card(sale, wanted) and sale.currency == wanted.currency and sale.at <= now and not sale.is_linked
    ]
    newest = sorted(same, key=lambda sale: sale.at)[-TREND_SALES_MAX:]
    if len(newest) < TREND_SALES_MIN or newest[-1].at - newest[0].at < TREND_SPAN:
        return None
    points = [(sale.at, math.log(sale.price_micros)) for sale in newest if sale.price_micros > 0]
    slopes = [
        (later_log - earlier_log) / ((later - earlier) / MONTH)
        for number, (earlier, earlier_log) in enumerate(points)
        for later, later_log in points[number + 1 :]
        if later - earlier >= APART
    ]
    return Decline(round(-10_000 * statistics.median(slopes)), len(points)) if slopes else None


def is_same_card(sale: CompletedSale, wanted: Wanted) -> bool:
    """The same model, the same memory as the box says, and modified or not as asked."""
    return (
        sale.model_slug == wanted.model_slug
        and (wanted.memory_mib is None or gibibytes(sale.memory_mib) == gibibytes(wanted.memory_mib))
        and (wanted.is_modified is None or sale.is_modified == wanted.is_modified)
    )


def gibibytes(memory_mib: int) -> int:
    """As written on the box: drivers report a little less."""
    return round(memory_mib / 1024)


# what is given up first comes first
WISHES: tuple[tuple[str, Callable[[Wanted], str], Callable[[CompletedSale], str]], ...] = (
    ("region", lambda wanted: wanted.region, lambda sale: sale.region),
    ("appearance", lambda wanted: wanted.appearance_grade, lambda sale: sale.appearance_grade),
    ("grade", lambda wanted: wanted.function_grade, lambda sale: sale.function_grade),
)


def _matches(sale: CompletedSale, wanted: Wanted, pooled: Sequence[str]) -> bool:
    return all(name in pooled or not wish(wanted) or of_sale(sale) == wish(wanted) for name, wish, of_sale in WISHES)


def _sales(count: int) -> str:
    return "no sale" if count == 0 else f"{count} sale{'' if count == 1 else 's'}"
