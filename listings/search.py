"""Searching offers, and saying why nothing was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from listings.offers import Offer
from listings.spreads import hour_micros, spread_offers
from listings.states import TIERS
from listings.supply import AskSupply, open_supply

SORTS: dict[str, Callable[[Offer], int]] = {
    "price": lambda offer: offer.price_micros_per_gpu_hour,
    "memory_mib": lambda offer: offer.memory_mib,
    "count": lambda offer: offer.count,
    "reliability": lambda offer: -1 if offer.reliability_basis_points is None else offer.reliability_basis_points,
}


@dataclass(frozen=True, slots=True)
class OfferFilters:
    """What a buyer looks for; an empty value filters nothing. Durations are seconds, prices micros per GPU-hour."""

    currency: str | None = None
    gpu: tuple[str, ...] = ()
    memory_mib_min: int = 0
    count: int = 1
    region: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    duration_seconds: int | None = None
    price_micros_max: int | None = None
    tier: str = "declared"
    reliability_basis_points_min: int = 0
    interruptible: bool | None = None
    exclude_nodes: tuple[str, ...] = ()
    same_node: bool = True
    exclude_firm_pk: int | None = None


@dataclass(frozen=True, slots=True)
class Relaxation:
    """A filter that alone stands in the way: without it so many offers would match, the cheapest at this price."""

    filter: str
    offers: int
    price_micros_min: int


def search_offers(*, filters: OfferFilters, now: datetime, sort: str = "price") -> list[Offer]:
    """Offers that match, in order; at equal places the cheaper, then the older."""
    found = matching_offers(all_offers(now=now, exclude_firm_pk=filters.exclude_firm_pk), filters)
    return sorted(found, key=lambda offer: place_of(offer, sort))


def place_of(offer: Offer, sort: str) -> tuple[int, int, int, str]:
    """Where an offer stands in a list; no two stand at the same place."""
    value = SORTS[sort.removeprefix("-")](offer)
    return -value if sort.startswith("-") else value, offer.price_micros_per_gpu_hour, *offer.age


def best_offer(*, filters: OfferFilters, least: int, now: datetime) -> Offer | None:
    """What a round would give for `filters.count` cards, or for fewer down to `least`.

    As in the round: the most cards, then the least that they cost together, then the older.
    """
    found = _candidates(all_offers(now=now, exclude_firm_pk=filters.exclude_firm_pk), filters)
    count = min(filters.count, max((offer.count for offer in found), default=0))
    enough = [offer for offer in found if offer.count >= max(count, least)]
    return min(enough, key=lambda offer: (hour_micros(offer, count), *offer.age), default=None)


def all_offers(*, now: datetime, exclude_firm_pk: int | None = None) -> list[Offer]:
    """Everything that could be rented now, except from the asking firm itself."""
    found = (_offer(ask, now) for ask in open_supply(now=now) if ask.seller_pk != exclude_firm_pk)
    return [offer for offer in found if offer]


def matching_offers(offers: Iterable[Offer], filters: OfferFilters) -> list[Offer]:
    """Those that pass every filter, together where the buyer takes several nodes."""
    return [offer for offer in _candidates(offers, filters) if offer.count >= filters.count]


def _candidates(offers: Iterable[Offer], filters: OfferFilters) -> list[Offer]:
    fitting = [offer for offer in offers if all(check(offer, filters) for check in CHECKS.values())]
    return fitting if filters.same_node else spread_offers(fitting, count=filters.count)


def relaxations(*, offers: Sequence[Offer], filters: OfferFilters) -> list[Relaxation]:
    """Which single filter to give up, the one that opens most first."""
    found = []
    for name in (*CHECKS, "count"):
        if filters == _without(filters, name):
            continue
        matching = matching_offers(offers, _without(filters, name))
        if matching:
            cheapest = min(offer.price_micros_per_gpu_hour for offer in matching)
            found.append(Relaxation(name, len(matching), cheapest))
    return sorted(found, key=lambda each: (-each.offers, each.price_micros_min))


CHECKS: dict[str, Callable[[Offer, OfferFilters], bool]] = {
    "currency": lambda offer, filters: filters.currency in (None, offer.currency),
    "gpu": lambda offer, filters: not filters.gpu or offer.gpu in filters.gpu,
    "memory_mib_min": lambda offer, filters: offer.memory_mib >= filters.memory_mib_min,
    "region": lambda offer, filters: not filters.region or offer.region in filters.region,
    "country": lambda offer, filters: not filters.country or offer.country in filters.country,
    "duration_seconds": lambda offer, filters: _lasts(offer, filters.duration_seconds),
    "price_micros_max": lambda offer, filters: (
        filters.price_micros_max is None or offer.price_micros_per_gpu_hour <= filters.price_micros_max
    ),
    "tier": lambda offer, filters: TIERS.index(offer.tier) >= TIERS.index(filters.tier),
    "reliability_basis_points_min": lambda offer, filters: (
        (offer.reliability_basis_points or 0) >= filters.reliability_basis_points_min
    ),
    "interruptible": lambda offer, filters: filters.interruptible is not True,  # every lease is firm so far
    "exclude_nodes": lambda offer, filters: offer.node not in filters.exclude_nodes,
}


def _without(filters: OfferFilters, name: str) -> OfferFilters:
    default: Any = getattr(OfferFilters(), name)
    return replace(filters, **{name: default})


def _lasts(offer: Offer, seconds: int | None) -> bool:
    return seconds is None or offer.duration_seconds_min <= seconds <= offer.duration_seconds_max


def _offer(ask: AskSupply, now: datetime) -> Offer | None:
    """What of an ask can be rented, for its shortest duration at least; None when nothing."""
    overhead = timedelta(seconds=settings.START_DEADLINE_SECONDS + settings.TURNAROUND_SECONDS)
    soonest = now + overhead + timedelta(seconds=ask.duration_seconds_min)
    cards = [card for card in ask.cards if card.free_until >= soonest]
    if not cards:
        return None
    until = min(card.free_until for card in cards)
    return Offer(
        key=ask.key,
        seq=ask.seq or 0,
        cards=tuple(card.id for card in cards),
        listing=ask.listing,
        node=ask.node,
        node_name=ask.node_name,
        seller=ask.seller,
        gpu=ask.gpu,
        gpu_name=ask.gpu_name,
        memory_mib=ask.memory_mib,
        is_modified=ask.is_modified,
        tier=ask.tier,
        region=ask.region,
        country=ask.country,
        count=len(cards),
        price_micros_per_gpu_hour=ask.price_micros_per_gpu_hour,
        currency=ask.currency,
        duration_seconds_min=ask.duration_seconds_min,
        duration_seconds_max=min(ask.duration_seconds_max, int((until - now - overhead).total_seconds())),
        reclaim_notice_seconds=ask.reclaim_notice_seconds,
        available_until=until,
        observed_at=ask.observed_at,
        driver_version=ask.driver_version,
        cpu_count=ask.cpu_count,
        node_memory_mib=ask.node_memory_mib,
        reliability_basis_points=ask.reliability_basis_points,
    )
