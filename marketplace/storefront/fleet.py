"""The fleet as its seller looks at it: what each card does, why it is not idle, and whether it is on offer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Prefetch

from listings.models import CapacityListing, ListingCard
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.storefront.proving import ProofNote, proof_note
from nodes.models import Card, Node
from nodes.selectors import newest_passport_ids
from nodes.states import Availability, NodeState


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card now. `idle_seconds` counts since it became idle."""

    card: Card
    availability: str
    reasons: list[str]
    since_at: datetime | None
    observed_at: datetime | None
    utilisation_percent: float | None
    memory_used_mib: float | None
    power_w: float | None
    temperature_c: float | None
    is_listed: bool
    passport_id: str | None = None

    @property
    def is_idle_money(self) -> bool:
        """Idle and nobody can rent it."""
        return self.availability == Availability.IDLE and not self.is_listed


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A host and its cards; `proof` says what it takes until they are offered, None where nothing does."""

    node: Node
    cards: list[CardRow]
    proof: ProofNote | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The fleet in numbers; utilisation is the mean over cards that say it."""

    cards: int
    idle: int
    leased: int
    unlisted_idle: int
    utilisation_percent: int | None
    idle_seconds: int


def fleet_of(firm: Firm) -> list[NodeRow]:
    """Every node of the firm that is not retired."""
    named, pools = _listed(firm)
    passports = newest_passport_ids(firm)
    cards = Card.objects.select_related("gpu_model", "status").order_by("index")
    nodes = Node.objects.filter(firm=firm).exclude(state=NodeState.RETIRED).order_by("name").select_related("proof")
    found = []
    for node in nodes.prefetch_related(Prefetch("cards", queryset=cards)):
        rows = [
            dataclasses.replace(_card_row(card, node, named, pools), passport_id=passports.get(card.pk))
            for card in node.cards.all()
        ]
        found.append(NodeRow(node, rows, proof_note(node, is_listed=any(row.is_listed for row in rows))))
    return found


def totals_of(rows: list[NodeRow], now: datetime) -> Totals:
    """The sums over a fleet."""
    cards = [card for row in rows for card in row.cards]
    idle = [card for card in cards if card.availability == Availability.IDLE]
    known = [card.utilisation_percent for card in cards if card.utilisation_percent is not None]
    return Totals(
        cards=len(cards),
        idle=len(idle),
        leased=sum(card.availability == Availability.LEASED for card in cards),
        unlisted_idle=sum(card.is_idle_money for card in idle),
        utilisation_percent=round(sum(known) / len(known)) if known else None,
        idle_seconds=sum(int((now - card.since_at).total_seconds()) for card in idle if card.since_at),
    )


def _listed(firm: Firm) -> tuple[set[int], list[tuple[int, frozenset[int]]]]:
    open_listings = CapacityListing.objects.filter(firm=firm, state=ListingState.OPEN)
    named = ListingCard.objects.filter(listing__in=open_listings).values_list("card_id", flat=True)
    pools = open_listings.exclude(pool_model=None).values_list("pool_model_id", "pool_node_ids")
    return set(named), [(model, frozenset(nodes)) for model, nodes in pools if model is not None]


def _card_row(card: Card, node: Node, named: set[int], pools: list[tuple[int, frozenset[int]]]) -> CardRow:
    status = getattr(card, "status", None)
    sample = status.sample if status else {}
    in_pool = any(model == card.gpu_model_id and (not nodes or node.pk in nodes) for model, nodes in pools)
    return CardRow(
        card=card,
        availability=status.availability if status else Availability.LOST,
        reasons=list(status.reasons) if status else ["no report yet"],
        since_at=status.since_at if status else None,
        observed_at=status.observed_at if status else None,
        utilisation_percent=sample.get("utilisation_percent"),
        memory_used_mib=sample.get("memory_used_mib"),
        power_w=sample.get("power_w"),
        temperature_c=sample.get("temperature_c"),
        is_listed=card.pk in named or in_pool,
    )
