"""Shapes of listings and offers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from rest_framework import serializers

from listings.models import CapacityListing
from listings.offers import Offer
from listings.search import SORTS, OfferFilters, Relaxation
from listings.services import ListingTerms
from listings.states import TIERS, ListingState
from marketplace.book.pricing import worst_case_micros
from marketplace.common import clock
from marketplace.common.api import (
    MicrosField,
    MoneyShape,
    PageQuery,
    RatioField,
    StrictSerializer,
    money_json,
    ratio_json,
)
from marketplace.common.money import PRICE_TICK_MICROS

FILTER_NAMES = {
    "memory_mib_min": "memory_mib__gte",
    "price_micros_max": "price__lte",
    "reliability_basis_points_min": "reliability__gte",
}


NOW_WORDS = ("", "now", "null")
SKEW = timedelta(minutes=1)  # between the buyer's clock and ours


class OfferQuery(serializers.Serializer[Any]):
    """Filters of GET /offers/."""

    currency = serializers.CharField(max_length=3, default="USD")
    gpu = serializers.ListField(child=serializers.SlugField(max_length=80), required=False)
    memory_mib__gte = serializers.IntegerField(min_value=0, default=0)
    count = serializers.IntegerField(min_value=1, max_value=64, default=1)
    region = serializers.ListField(child=serializers.CharField(max_length=40), required=False)
    country = serializers.ListField(child=serializers.CharField(max_length=2), required=False)
    duration_seconds = serializers.IntegerField(min_value=60, required=False)
    price__lte = MicrosField(required=False)
    tier = serializers.ChoiceField(choices=TIERS, default="declared")
    reliability__gte = RatioField(default=0)
    same_node = serializers.BooleanField(default=True)
    interruptible = serializers.BooleanField(required=False, allow_null=True, default=None)
    start_at = serializers.CharField(max_length=40, required=False, allow_blank=True)
    sort = serializers.ChoiceField(choices=[each for name in SORTS for each in (name, f"-{name}")], default="price")
    limit = serializers.IntegerField(min_value=1, max_value=200, default=50)
    cursor = serializers.CharField(max_length=1000, required=False)

    def validate_start_at(self, value: str) -> None:
        if value not in NOW_WORDS and serializers.DateTimeField().to_internal_value(value) > clock.now() + SKEW:
            raise serializers.ValidationError("windows ahead are not offered yet: every lease starts now")


class PoolShape(StrictSerializer):
    """All cards of a model on these nodes, on all of the firm's when none is named."""

    gpu = serializers.SlugField(max_length=80)
    nodes = serializers.ListField(child=serializers.CharField(max_length=32), max_length=1000, default=list)


class PromiseShape(StrictSerializer):
    """What every listing is so far; saying it is allowed, the contrary is not."""

    only_when_idle = serializers.BooleanField(required=False)
    interruptible = serializers.BooleanField(required=False)

    def validate_only_when_idle(self, value: bool) -> None:
        if not value:
            raise serializers.ValidationError("cards are offered only while they are measured idle")

    def validate_interruptible(self, value: bool) -> None:
        if value:
            raise serializers.ValidationError("not yet: every lease is firm")


class ListingInput(PromiseShape):
    """The body of POST /capacity-listings/: `cards`, a `pool`, or a `node` whose cards are all of one model."""

    cards = serializers.ListField(child=serializers.CharField(max_length=32), max_length=1000, required=False)
    pool = PoolShape(required=False)
    node = serializers.CharField(max_length=32, required=False)
    ask_per_gpu_hour = MicrosField(tick_micros=PRICE_TICK_MICROS)
    currency = serializers.CharField(max_length=3, default="USD")
    window_start_at = serializers.DateTimeField(required=False)
    window_end_at = serializers.DateTimeField()
    min_duration_seconds = serializers.IntegerField(min_value=1, default=3600)
    max_duration_seconds = serializers.IntegerField(min_value=1, default=7 * 24 * 3600)
    reclaim_notice_seconds = serializers.IntegerField(min_value=0, max_value=30 * 24 * 3600, default=0)
    open = serializers.BooleanField(default=False)


class ListingChanges(PromiseShape):
    """The body of PATCH /capacity-listings/{id}/."""

    ask_per_gpu_hour = MicrosField(tick_micros=PRICE_TICK_MICROS, required=False)
    window_end_at = serializers.DateTimeField(required=False)
    min_duration_seconds = serializers.IntegerField(min_value=1, required=False)
    max_duration_seconds = serializers.IntegerField(min_value=1, required=False)
    reclaim_notice_seconds = serializers.IntegerField(min_value=0, max_value=30 * 24 * 3600, required=False)


COLUMNS = {
    "ask_per_gpu_hour": "ask_micros_per_gpu_hour",
    "window_end_at": "window_end_at",
    "min_duration_seconds": "duration_seconds_min",
    "max_duration_seconds": "duration_seconds_max",
    "reclaim_notice_seconds": "reclaim_notice_seconds",
}


class ListingQuery(PageQuery):
    """Filters of GET /capacity-listings/."""

    state = serializers.ChoiceField(choices=ListingState.choices, required=False)


class ListingShape(serializers.Serializer[CapacityListing]):
    """A listing in an answer."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=ListingState.choices)
    cards = serializers.ListField(child=serializers.CharField())
    pool = PoolShape(allow_null=True)
    ask_per_gpu_hour = MoneyShape()
    currency = serializers.CharField()
    window_start_at = serializers.DateTimeField()
    window_end_at = serializers.DateTimeField()
    min_duration_seconds = serializers.IntegerField()
    max_duration_seconds = serializers.IntegerField()
    reclaim_notice_seconds = serializers.IntegerField()
    only_when_idle = serializers.BooleanField()
    interruptible = serializers.BooleanField()
    created_at = serializers.DateTimeField()


def listing_terms(values: dict[str, Any], now: datetime) -> ListingTerms:
    """A validated body as the service takes it."""
    pool = values.get("pool")
    return ListingTerms(
        cards=tuple(values.get("cards") or ()),
        pool_gpu=pool["gpu"] if pool else None,
        pool_nodes=tuple(pool["nodes"]) if pool else (),
        node=values.get("node"),
        ask_micros_per_gpu_hour=values["ask_per_gpu_hour"],
        currency=values["currency"],
        window_start_at=values.get("window_start_at") or now,
        window_end_at=values["window_end_at"],
        duration_seconds_min=values["min_duration_seconds"],
        duration_seconds_max=values["max_duration_seconds"],
        reclaim_notice_seconds=values["reclaim_notice_seconds"],
    )


def offer_filters(query: dict[str, Any], *, exclude_firm_pk: int | None) -> OfferFilters:
    """Validated query parameters as the search takes them."""
    return OfferFilters(
        currency=query["currency"],
        gpu=tuple(query.get("gpu") or ()),
        memory_mib_min=query["memory_mib__gte"],
        count=query["count"],
        region=tuple(query.get("region") or ()),
        country=tuple(query.get("country") or ()),
        duration_seconds=query.get("duration_seconds"),
        price_micros_max=query.get("price__lte"),
        tier=query["tier"],
        reliability_basis_points_min=query["reliability__gte"],
        interruptible=query["interruptible"],
        same_node=query["same_node"],
        exclude_firm_pk=exclude_firm_pk,
    )


def listing_json(listing: CapacityListing) -> dict[str, Any]:
    """A listing as its owner sees it."""
    pool = None
    if listing.pool_model:
        pool = {"gpu": listing.pool_model.slug, "nodes": listing.pool_node_public_ids()}
    return {
        "id": listing.public_id,
        "state": listing.state,
        "cards": [named.card.public_id for named in listing.named_cards.all()],
        "pool": pool,
        "ask_per_gpu_hour": money_json(listing.ask_micros_per_gpu_hour, listing.currency),
        "currency": listing.currency,
        "window_start_at": listing.window_start_at,
        "window_end_at": listing.window_end_at,
        "min_duration_seconds": listing.duration_seconds_min,
        "max_duration_seconds": listing.duration_seconds_max,
        "reclaim_notice_seconds": listing.reclaim_notice_seconds,
        "only_when_idle": True,
        "interruptible": False,
        "created_at": listing.created_at,
    }


def offer_json(offer: Offer, *, now: datetime, duration_seconds: int | None = None) -> dict[str, Any]:
    """An offer as everybody sees it; `total` is for all its cards and the asked duration.

    A spread one has no id and several `nodes`: it is ordered by what it is, with `same_node: false`.
    """
    price, total = offer.price_micros_per_gpu_hour, None
    if duration_seconds:
        total = worst_case_micros(price_micros_per_gpu_hour=price, count=offer.count, duration_seconds=duration_seconds)
    return {
        "id": None if offer.parts else offer.token(now),
        "gpu": offer.gpu,
        "gpu_name": offer.gpu_name,
        "count": offer.count,
        "memory_mib": offer.memory_mib,
        "modified": offer.is_modified,
        "node": None if offer.parts else _node_json(offer),
        "nodes": [_node_json(part) | {"count": part.count} for part in offer.parts or (offer,)],
        "region": offer.region,
        "country": offer.country,
        "price_per_gpu_hour": money_json(price, offer.currency),
        "total": money_json(total, offer.currency),
        "tier": offer.tier,
        "observed_at": offer.observed_at,
        "stale_after": offer.stale_after,
        "min_duration_seconds": offer.duration_seconds_min,
        "max_duration_seconds": offer.duration_seconds_max,
        "available_until": offer.available_until,
        "reclaim_notice_seconds": offer.reclaim_notice_seconds,
    }


def _node_json(offer: Offer) -> dict[str, Any]:
    return {
        "id": offer.node,
        "driver_version": offer.driver_version,
        "cpu_count": offer.cpu_count,
        "memory_mib": offer.node_memory_mib,
        "reliability": ratio_json(offer.reliability_basis_points),
    }


def relaxation_json(relaxation: Relaxation, currency: str) -> dict[str, Any]:
    """What giving up one filter would open."""
    return {
        "filter": FILTER_NAMES.get(relaxation.filter, relaxation.filter),
        "offers": relaxation.offers,
        "price_per_gpu_hour": money_json(relaxation.price_micros_min, currency),
    }
