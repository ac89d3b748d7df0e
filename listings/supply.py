"""What is in the book for a start now: open listings × cards that were measured idle a moment ago and are free."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

# `listed` gives the cards of each open listing; a card that is claimed now, or whose report is stale, is not supply.
# What a host says of itself is shown only when it can be true, so that no host can break everybody's search.
# Grouped here, because a fleet has many more cards than asks, and every row that comes over costs Python time.
SUPPLY = """
WITH listing AS (
    SELECT * FROM listings_capacitylisting
    WHERE state = 'open' AND window_start_at <= %(now)s AND window_end_at > %(now)s
), listed AS (
    SELECT l.id AS listing_id, n.card_id FROM listing l JOIN listings_listingcard n ON n.listing_id = l.id
    UNION
    SELECT l.id, c.id FROM listing l JOIN nodes_card c ON c.firm_id = l.firm_id AND c.gpu_model_id = l.pool_model_id
    WHERE l.pool_node_ids = '{}' OR c.node_id = ANY(l.pool_node_ids)
), claimed AS (
    SELECT card_id, min(lower(period)) AS next_start FROM nodes_claim
    WHERE upper(period) > %(now)s OR upper(period) IS NULL GROUP BY card_id
), ask AS (
    SELECT x.listing_id, c.firm_id, c.node_id, c.gpu_model_id, c.memory_mib, c.is_modified, c.tier,
           array_agg(c.id ORDER BY c.id) AS cards, array_agg(s.version ORDER BY c.id) AS versions,
           array_agg(claimed.next_start ORDER BY c.id) AS next_starts, min(s.observed_at) AS observed_at
    FROM listed x
    JOIN nodes_card c ON c.id = x.card_id
    JOIN catalogue_gpumodel g ON g.id = c.gpu_model_id AND (%(gpus)s::text[] IS NULL OR g.slug = ANY(%(gpus)s))
    JOIN nodes_cardstate s ON s.card_id = c.id AND s.availability = 'idle' AND s.observed_at > %(fresh)s
    LEFT JOIN claimed ON claimed.card_id = c.id
    WHERE (claimed.next_start IS NULL OR claimed.next_start > %(now)s)
        AND (%(nodes)s::bigint[] IS NULL OR c.node_id = ANY(%(nodes)s))
    GROUP BY x.listing_id, c.firm_id, c.node_id, c.gpu_model_id, c.memory_mib, c.is_modified, c.tier
)
SELECT l.public_id, l.id, l.seq, l.firm_id, f.public_id, l.ask_micros_per_gpu_hour, l.currency,
       l.window_start_at, l.window_end_at, l.duration_seconds_min, l.duration_seconds_max, l.reclaim_notice_seconds,
       n.public_id, n.id, n.name, n.region, n.country, n.reliability_basis_points, n.inventory->>'driver_version',
       jsonb_path_query_first(n.inventory, '$.cpu_count ? (@ >= 0 && @ < 1000000000)')::bigint,
       jsonb_path_query_first(n.inventory, '$.memory_mib ? (@ >= 0 && @ < 1000000000)')::bigint,
       g.slug, g.marketing_name, a.memory_mib, a.is_modified, a.tier, a.observed_at, a.cards, a.versions, a.next_starts
FROM ask a
JOIN listing l ON l.id = a.listing_id AND l.firm_id = a.firm_id
JOIN accounts_firm f ON f.id = l.firm_id
JOIN nodes_node n ON n.id = a.node_id AND n.state = 'online' AND NOT n.is_draining AND n.runtime <> 'none'
    AND (n.proven_at IS NOT NULL OR NOT %(proven_only)s)
JOIN catalogue_gpumodel g ON g.id = a.gpu_model_id
ORDER BY l.id, n.id, g.id, a.memory_mib, a.is_modified, a.tier
"""


@dataclass(frozen=True, slots=True)
class ListedCard:
    """A card of an ask and until when it is free."""

    id: int
    version: int
    free_until: datetime


@dataclass(frozen=True, slots=True)
class AskSupply:
    """Like cards of one listing on one node."""

    listing: str
    listing_pk: int
    seq: int | None
    seller_pk: int
    seller: str
    price_micros_per_gpu_hour: int
    currency: str
    window_start_at: datetime
    window_end_at: datetime
    duration_seconds_min: int
    duration_seconds_max: int
    reclaim_notice_seconds: int
    node: str
    node_pk: int
    node_name: str
    region: str
    country: str
    reliability_basis_points: int | None
    driver_version: str | None
    cpu_count: int | None
    node_memory_mib: int | None
    gpu: str
    gpu_name: str
    memory_mib: int
    is_modified: bool
    tier: str
    observed_at: datetime  # of the card whose reading is oldest
    cards: tuple[ListedCard, ...]

    @property
    def key(self) -> str:
        """Names it within one reading of the supply."""
        return f"{self.listing}/{self.node}/{self.gpu}/{self.memory_mib}/{int(self.is_modified)}/{self.tier}"


WINDOW_END = [each.name for each in fields(AskSupply)].index("window_end_at")


def open_supply(*, now: datetime, gpus: Collection[str] | None = None) -> list[AskSupply]:
    """Every ask that can serve a start now, of these models only when they are given.

    A node that is not proven has none, unless the installation proves no nodes.
    """
    if gpus is not None and not gpus:
        return []
    proven_only = settings.PROVING_LEASE_SECONDS > 0
    return _supply(now, gpus=None if gpus is None else sorted(gpus), nodes=None, proven_only=proven_only)


def supply_if_proven(*, now: datetime, node_pks: Collection[int]) -> list[AskSupply]:
    """The asks that these nodes would have if they were proven: what their owners offer and what is idle."""
    return _supply(now, gpus=None, nodes=sorted(node_pks), proven_only=False) if node_pks else []


def _supply(now: datetime, **limits: Any) -> list[AskSupply]:
    fresh = now - timedelta(seconds=settings.STALE_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(SUPPLY, {"now": now, "fresh": fresh} | limits)
        return [_ask(row) for row in cursor.fetchall()]


def _ask(row: tuple[Any, ...]) -> AskSupply:
    *common, cards, versions, next_starts = row  # in the order of the fields
    window_end_at = common[WINDOW_END]
    listed = (
        ListedCard(card, version, min(next_start or window_end_at, window_end_at))
        for card, version, next_start in zip(cards, versions, next_starts, strict=True)
    )
    return AskSupply(*common, tuple(listed))  # type: ignore[call-arg]
