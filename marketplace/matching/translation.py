"""Rows into the engine's values."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.conf import settings

from listings.states import TIERS
from listings.supply import AskSupply
from marketplace.matching.values import Ask, Bid, Rules, Slot
from marketplace.orders.models import Order


def rules() -> Rules:
    """The market's constants from the settings."""
    return Rules(start_deadline_seconds=settings.START_DEADLINE_SECONDS, turnaround_seconds=settings.TURNAROUND_SECONDS)


def ask_from(supply: AskSupply, *, new: Collection[str]) -> Ask:
    """An ask; `new` are the listings whose message came with this round."""
    window = (_second(supply.window_start_at), _second(supply.window_end_at))
    return Ask(
        key=supply.key,
        seq=supply.seq or 0,
        seller=supply.seller,
        listing=supply.listing,
        node=supply.node,
        site=supply.region,
        region=supply.region,
        country=supply.country,
        currency=supply.currency,
        gpu=supply.gpu,
        memory_mib=supply.memory_mib,
        slots=tuple(Slot(card.id, ((window[0], _second(card.free_until)),)) for card in supply.cards),
        price_micros=supply.price_micros_per_gpu_hour,
        window=window,
        min_seconds=supply.duration_seconds_min,
        max_seconds=supply.duration_seconds_max,
        tier=TIERS.index(supply.tier),
        reliability_basis_points=supply.reliability_basis_points,
        is_new=supply.listing in new,
    )


def bid_from(order: Order, *, new: Collection[str]) -> Bid:
    """A bid for a start now; `new` are the orders whose message came with this round."""
    return Bid(
        key=order.public_id,
        seq=order.seq or 0,
        buyer=order.firm.public_id,
        models=frozenset(order.gpus),
        count=order.count,
        min_count=order.count_min,
        duration_seconds=order.duration_seconds,
        cap_micros=order.cap_micros,
        currency=order.currency,
        same_node=order.same_node,
        regions=frozenset(order.regions),
        countries=frozenset(order.countries),
        min_memory_mib=order.memory_mib_min,
        exclude_nodes=frozenset(order.exclude_nodes),
        min_tier=TIERS.index(order.tier_min),
        min_reliability_basis_points=order.reliability_basis_points_min,
        pinned_listing=order.pinned_listing or None,
        pinned_node=order.pinned_node or None,
        pinned_memory_mib=order.pinned_memory_mib,
        is_new=order.public_id in new,
    )


def _second(at: datetime) -> int:
    return int(at.timestamp())
