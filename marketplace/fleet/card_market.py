"""What is known of the market for cards: completed sales, what is on offer, what is bid. Without names."""

from __future__ import annotations

import csv
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db.models import Count, F

from listings.models import CardListingCard
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.money import parse_micros
from marketplace.fleet.guide import SALES_SINCE, CompletedSale, Guide, Wanted, gibibytes, guide_for
from marketplace.fleet.hedonic import Fitted, Launch, fit, guide_from
from marketplace.sales.models import CardBid
from marketplace.sales.selectors import completed_sales, newest_of_completed
from marketplace.sales.states import BidState

KEPT_SECONDS = 60
Version = tuple[int, datetime | None, int | None, int]
LAUNCH_PRICES = Path(__file__).parent / "facts" / "launch_prices.csv"


@dataclass(frozen=True, slots=True)
class Completed:
    """Every completed sale by model."""

    by_model: Mapping[str, Sequence[CompletedSale]]


class CardMarket:
    """One look at the market. Sales and what they teach are kept in the process until there are others."""

    def __init__(self, currency: str, *, now: datetime, viewer: Firm | None = None) -> None:
        self.currency, self.now, self.viewer = currency, now, viewer
        self._version = (*newest_of_completed(since=now - SALES_SINCE), int(now.timestamp() // KEPT_SECONDS))

    def guide(self, wanted: Wanted) -> Guide | None:
        """From sales of such cards, else from the model, else nothing."""
        found = guide_for(self.sales(wanted.model_slug), wanted, now=self.now)
        if found is not None:
            return found
        return guide_from(_fitted(self.currency, self._version), wanted, now=self.now)

    def sales(self, model_slug: str) -> Sequence[CompletedSale]:
        """The completed sales of a model."""
        return _completed(self._version).by_model.get(model_slug, ())

    def on_offer(self, model: GpuModel, memory_gib: int) -> int:
        """How many such cards others offer."""
        lots = CardListingCard.objects.filter(
            listing__state=ListingState.OPEN,
            listing__gpu_model=model,
            listing__currency=self.currency,
            is_live=True,
            taken_by="",
        )
        open_rows = lots if self.viewer is None else lots.exclude(listing__firm=self.viewer)
        sizes = open_rows.values_list("listing__memory_mib").annotate(count=Count("pk"))
        return sum(count for size, count in sizes if gibibytes(size) == memory_gib)

    def bids(self, model: GpuModel, memory_gib: int) -> list[int]:
        """What others bid for such cards, one number for each card that they want, all in."""
        bids = CardBid.objects.filter(
            state=BidState.OPEN, gpu_model=model, currency=self.currency, expires_at__gt=self.now, pinned_listing=""
        )
        rows = bids if self.viewer is None else bids.exclude(firm=self.viewer)
        wanted = rows.values_list("memory_mib", "limit_micros").annotate(left=F("count") - F("filled_count"))
        return [limit for size, limit, left in wanted if gibibytes(size) == memory_gib for _ in range(left)]


@functools.lru_cache(maxsize=2)
def _completed(version: Version) -> Completed:
    """The sales that `version` stands for: rows are the truth, and other rows have another version."""
    by_model: dict[str, list[CompletedSale]] = defaultdict(list)
    for sale in completed_sales(since=_at(version) - SALES_SINCE):
        by_model[sale.model_slug].append(sale)
    return Completed(dict(by_model))


@functools.lru_cache(maxsize=8)
def _fitted(currency: str, version: Version) -> Fitted:
    known, sales = launches(currency), _completed(version).by_model
    return fit([sale for slug in known for sale in sales.get(slug, ())], known, currency, now=_at(version))


def _at(version: Version) -> datetime:
    """The end of the minute: no sale of the version is later."""
    return datetime.fromtimestamp((version[-1] + 1) * KEPT_SECONDS, UTC)


def launches(currency: str) -> dict[str, Launch]:
    """What is known of launches in this currency, by slug."""
    prices = {row["slug"]: parse_micros(row["price"]) for row in _launch_rows() if row["currency"] == currency}
    models = GpuModel.objects.filter(slug__in=prices, release_year__isnull=False, memory_mib__isnull=False)
    return {
        slug: Launch(year or 0, prices[slug], currency, memory or 0)
        for slug, year, memory in models.values_list("slug", "release_year", "memory_mib")
    }


@functools.cache
def _launch_rows() -> tuple[dict[str, str], ...]:
    with LAUNCH_PRICES.open(encoding="utf-8") as file:
        return tuple(csv.DictReader(file))
