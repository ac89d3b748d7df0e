"""How much cards were used, and what the market pays for their hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, Exists, F, OuterRef, Q, QuerySet, Sum

from marketplace.accounts.models import Firm
from marketplace.book.models import Trade
from marketplace.common.errors import NotFound
from marketplace.fleet.guide import gibibytes
from marketplace.fleet.models import CardHour
from marketplace.fleet.quantiles import weighted_quantile
from nodes.models import Card, Claim
from nodes.states import ClaimKind, NodeState

LOOKED_BACK = timedelta(days=30)
MARKET_LOOKED_BACK = timedelta(days=7)
TRADES_MAX = 2_000  # of one model; the newest
WHOLE_HOUR_SHARE = 0.95
BUSY_PERCENT = 50
SUMS = ("seen", "idle", "leased", "owner")


@dataclass(frozen=True, slots=True)
class Use:
    """What cards did in the last 30 days, as far as their hosts were heard."""

    cards: int = 0
    seen_seconds: int = 0
    idle_seconds: int = 0
    leased_seconds: int = 0
    owner_seconds: int = 0
    utilisation_percent: float | None = None
    idle_watts: float | None = None
    load_watts: float | None = None

    def share(self, seconds: int) -> int:
        """A part of the seen time in basis points."""
        return round(10_000 * seconds / self.seen_seconds) if self.seen_seconds else 0


@dataclass(frozen=True, slots=True, order=True)
class KindKey:
    """Cards that the market takes for the same: model, memory as on the box, modified or not."""

    model_id: int
    memory_gib: int
    is_modified: bool

    @classmethod
    def of(cls, card: Card) -> KindKey:
        """A card's kind."""
        return cls(card.gpu_model_id, gibibytes(card.memory_mib), card.is_modified)


@dataclass(frozen=True, slots=True)
class HourPrice:
    """What an hour went for in the last 30 days: the median over the hours traded."""

    price_micros: int
    trade_count: int
    gpu_hours: int


def cards_of(firm: Firm) -> QuerySet[Card]:
    """The firm's cards that it still has and can decide about: in a host, not sold."""
    sold = Claim.objects.filter(card=OuterRef("pk"), kind=ClaimKind.SALE)
    cards = Card.objects.filter(firm=firm, node__isnull=False).exclude(node__state=NodeState.RETIRED)
    return cards.filter(~Exists(sold)).select_related("gpu_model", "node", "status")


def cards_named(firm: Firm, public_ids: Collection[str]) -> QuerySet[Card]:
    """Some of them by name; NotFound when one is not the firm's."""
    cards = cards_of(firm).filter(public_id__in=public_ids)
    if cards.count() != len(set(public_ids)):
        raise NotFound
    return cards


def use_by_card(firm: Firm, cards: Collection[Card], *, now: datetime) -> dict[int, Use]:
    """What each card did while it was the firm's."""
    hours = CardHour.objects.filter(firm=firm, card__in=cards, hour_at__gt=now - LOOKED_BACK)
    found = {row.pop("card_id"): row for row in _summed(hours.values("card_id"))}
    return {card.pk: _use(found[card.pk], 1) if card.pk in found else Use(1) for card in cards}


def use_by_kind(firm: Firm, cards: QuerySet[Card], *, now: datetime) -> dict[KindKey, Use]:
    """What the firm's cards of each kind did together."""
    counts: dict[KindKey, int] = defaultdict(int)
    for model_id, memory_mib, is_modified, count in cards.values_list(
        "gpu_model_id", "memory_mib", "is_modified"
    ).annotate(count=Count("pk")):
        counts[KindKey(model_id, gibibytes(memory_mib), is_modified)] += count
    hours = CardHour.objects.filter(firm=firm, card__in=cards.values("pk"), hour_at__gt=now - LOOKED_BACK)
    rows: dict[KindKey, list[dict[str, Any]]] = defaultdict(list)
    for row in _summed(hours.values(*(f"card__{name}" for name in ("gpu_model_id", "memory_mib", "is_modified")))):
        key = KindKey(row["card__gpu_model_id"], gibibytes(row["card__memory_mib"]), row["card__is_modified"])
        rows[key].append(row)
    return {key: _use(_together(rows[key]), count) if rows[key] else Use(count) for key, count in counts.items()}


def leased_on_the_market(model_ids: Collection[int], *, now: datetime) -> dict[tuple[int, int], int]:
    """By model and memory, of the hours in which anybody's card could be rented the leased part, in basis points.

    A week is enough; a card that its owner used could not be rented and says nothing about demand.
    """
    since = now - MARKET_LOOKED_BACK
    hours = CardHour.objects.filter(card__gpu_model__in=model_ids, hour_at__gt=since)
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    rows = hours.values_list("card__gpu_model_id", "card__memory_mib").annotate(
        leased=Sum("leased_seconds"), idle=Sum("idle_seconds")
    )
    for model_id, memory_mib, leased, idle in rows.order_by():
        pair = sums[model_id, gibibytes(memory_mib)]
        pair[0] += leased
        pair[1] += leased + idle
    return {key: round(10_000 * leased / offered) for key, (leased, offered) in sums.items() if leased}


def hour_price(gpu: str, memory_gib: int, currency: str, *, now: datetime) -> HourPrice | None:
    """What hours of such cards went for; None when none was traded in 30 days."""
    trades = Trade.objects.filter(gpu=gpu, currency=currency, at__gt=now - LOOKED_BACK).order_by("-pk")[:TRADES_MAX]
    rows = list(trades.values_list("price_micros_per_gpu_hour", "card_count", "duration_seconds", "cards"))
    memory = dict(Card.objects.filter(pk__in={cards[0] for *_, cards in rows}).values_list("pk", "memory_mib"))
    like = [row for row in rows if gibibytes(memory.get(row[3][0], 0)) == memory_gib]
    weighted = [(price, float(count * seconds)) for price, count, seconds, _ in like]
    if not weighted:
        return None
    hours = sum(count * seconds for _, count, seconds, _ in like) // 3600
    return HourPrice(weighted_quantile(weighted, 0.5), len(like), hours)


def _summed(hours: QuerySet[CardHour, Any]) -> QuerySet[CardHour, Any]:
    whole = F("seen_seconds") * WHOLE_HOUR_SHARE
    sums = {name: Sum(f"{name}_seconds") for name in SUMS}
    return hours.annotate(
        **sums,
        busy=Sum(F("utilisation_percent") * F("seen_seconds")),
        busy_of=Sum("seen_seconds", filter=Q(utilisation_percent__isnull=False)),
        idle_watts=Avg("power_w", filter=Q(idle_seconds__gte=whole, seen_seconds__gt=0)),
        load_watts=Avg("power_w", filter=Q(utilisation_percent__gte=BUSY_PERCENT)),
        hours=Count("pk"),
    ).order_by()


def _together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of measured sizes that the box does not tell apart, as one."""
    sums = {name: sum(row[name] or 0 for row in rows) for name in (*SUMS, "busy", "busy_of")}
    largest = max(rows, key=lambda row: int(row["hours"]))
    return sums | {name: largest[name] for name in ("idle_watts", "load_watts")}


def _use(row: Mapping[str, Any], cards: int) -> Use:
    return Use(
        cards=cards,
        **{f"{name}_seconds": int(row[name]) for name in SUMS},
        utilisation_percent=row["busy"] / row["busy_of"] if row["busy_of"] else None,
        idle_watts=row["idle_watts"],
        load_watts=row["load_watts"],
    )
