"""What is in the book for a start now: open listings × cards that were measured idle a moment ago and are free."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

# `listed` gives the cards of each open listing; a card that is claimed now, or whose report is stale, is not supply.
SUPPLY = """
WITH listing AS (
    SELECT * FROM listings_capacitylisting
    WHERE state = 'open' AND window_start_at <= %(now)s AND window_end_at > %(now)s
), listed AS (
    SELECT l.id AS listing_id, n.card_id FROM listing l JOIN listings_listingcard n ON n.listing_id = l.id
    UNION
    SELECT l.id, c.id FROM listing l JOIN nodes_card c ON c.firm_id = l.firm_id AND c.gpu_model_id = l.pool_model_id
    WHERE l.pool_node_ids = '{}' OR c.node_id = ANY(l.pool_node_ids)
)
SELECT l.public_id, l.id, l.seq, l.firm_id, f.public_id, l.ask_micros_per_gpu_hour, l.currency,
       l.window_start_at, l.window_end_at, l.duration_seconds_min, l.duration_seconds_max, l.reclaim_notice_seconds,
       n.public_id, n.id, n.name, n.region, n.country, n.inventory->>'driver_version',
       (n.inventory->>'cpu_count')::int, (n.inventory->>'memory_mib')::int, g.slug, g.marketing_name,
       c.memory_mib, c.is_modified, c.tier, c.id, s.version, s.observed_at, claims.next_start
FROM listed x
JOIN listing l ON l.id = x.listing_id
JOIN accounts_firm f ON f.id = l.firm_id
JOIN nodes_card c ON c.id = x.card_id AND c.firm_id = l.firm_id
JOIN nodes_cardstate s ON s.card_id = c.id AND s.availability = 'idle' AND s.observed_at > %(fresh)s
JOIN nodes_node n ON n.id = c.node_id AND n.state = 'online' AND NOT n.is_draining
JOIN catalogue_gpumodel g ON g.id = c.gpu_model_id AND (%(gpus)s::text[] IS NULL OR g.slug = ANY(%(gpus)s))
LEFT JOIN LATERAL (
    SELECT min(lower(k.period)) AS next_start FROM nodes_claim k
    WHERE k.period && tstzrange(%(now)s, l.window_end_at)
      AND int8range(k.card_id, k.card_id, '[]') && int8range(c.id, c.id, '[]')
) claims ON true
WHERE claims.next_start IS NULL OR claims.next_start > %(now)s
ORDER BY l.id, n.id, c.memory_mib, c.is_modified, c.tier, c.id
"""


@dataclass(frozen=True, slots=True)
class ListedCard:
    """A card of an ask and until when it is free."""

    id: int
    version: int
    observed_at: datetime
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
    driver_version: str | None
    cpu_count: int | None
    node_memory_mib: int | None
    gpu: str
    gpu_name: str
    memory_mib: int
    is_modified: bool
    tier: str
    cards: tuple[ListedCard, ...]

    @property
    def key(self) -> str:
        """Names it within one reading of the supply."""
        return f"{self.listing}/{self.node}/{self.memory_mib}/{int(self.is_modified)}/{self.tier}"


def open_supply(*, now: datetime, gpus: Collection[str] | None = None) -> list[AskSupply]:
    """Every ask that can serve a start now, of these models only when they are given."""
    if gpus is not None and not gpus:
        return []
    fresh = now - timedelta(seconds=settings.STALE_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute(SUPPLY, {"now": now, "fresh": fresh, "gpus": None if gpus is None else sorted(gpus)})
        rows = cursor.fetchall()
    groups: dict[tuple[object, ...], list[ListedCard]] = {}
    columns: dict[tuple[object, ...], tuple[object, ...]] = {}
    for row in rows:
        common, (card, version, observed_at, next_start) = row[:25], row[25:]
        key = (common[1], common[13], common[22], common[23], common[24])
        columns[key] = common
        free_until = min(next_start or common[8], common[8])
        groups.setdefault(key, []).append(ListedCard(card, version, observed_at, free_until))
    return [_ask(columns[key], tuple(cards)) for key, cards in groups.items()]


def _ask(common: tuple[object, ...], cards: tuple[ListedCard, ...]) -> AskSupply:
    return AskSupply(*common, cards)  # type: ignore[arg-type, call-arg]  # the columns are in the order of the fields
