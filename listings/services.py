"""Listing hours: what the seller may do with the standing sell side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from listings.models import CapacityListing, ListingCard
from listings.overlaps import refuse_overlap
from listings.selectors import listing_for_update, listing_of
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.book.models import MessageKind
from marketplace.book.services import send
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.models import Card, Claim, Node
from nodes.states import ClaimKind


@dataclass(frozen=True, slots=True)
class ListingTerms:
    """What a seller offers: named cards, a pool by model and (when given) nodes, or a node whose cards are alike."""

    ask_micros_per_gpu_hour: int
    currency: str
    window_start_at: datetime
    window_end_at: datetime
    duration_seconds_min: int
    duration_seconds_max: int
    reclaim_notice_seconds: int = 0
    cards: tuple[str, ...] = ()
    pool_gpu: str | None = None
    pool_nodes: tuple[str, ...] = ()
    node: str | None = None


@transaction.atomic
def create_listing(*, firm: Firm, terms: ListingTerms, actor: str, now: datetime) -> CapacityListing:
    """A DRAFT; `open_listing` puts it into the book."""
    _check_terms(terms, now)
    if terms.node:
        terms = replace(terms, pool_gpu=_only_model_on(firm, terms.node), pool_nodes=(terms.node,))
    lock_firm(firm)
    _refuse_too_many(CapacityListing.objects.filter(firm=firm).exclude(state=ListingState.CLOSED))
    cards = _cards(firm, terms.cards, now)
    listing = CapacityListing.objects.create(
        firm=firm,
        pool_model=_pool_model(terms),
        pool_node_ids=_pool_node_ids(firm, terms.pool_nodes),
        ask_micros_per_gpu_hour=terms.ask_micros_per_gpu_hour,
        currency=terms.currency,
        window_start_at=terms.window_start_at,
        window_end_at=terms.window_end_at,
        duration_seconds_min=terms.duration_seconds_min,
        duration_seconds_max=terms.duration_seconds_max,
        reclaim_notice_seconds=terms.reclaim_notice_seconds,
        created_at=now,
    )
    ListingCard.objects.bulk_create(ListingCard(listing=listing, card=card) for card in cards)
    record_event(firm_id=firm.pk, type="capacity_listing.draft", subject=listing.public_id, actor=actor, now=now)
    return listing


@transaction.atomic
def list_at_once(*, firm: Firm, terms: ListingTerms, actor: str, now: datetime) -> CapacityListing:
    """A listing that is in the book from the beginning; nothing is left of it when it can't be."""
    listing = create_listing(firm=firm, terms=terms, actor=actor, now=now)
    return open_listing(firm=firm, public_id=listing.public_id, actor=actor, now=now)


@transaction.atomic
def open_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CapacityListing:
    """Put it into the book. Conflict when its window is over, a card is in already or the firm has too many."""
    lock_firm(firm)
    listing = listing_for_update(listing_of(firm, public_id).pk)
    if listing.window_end_at <= now:
        raise Conflict("its window is over: make a new listing", code="window_over")
    cards = list(Card.objects.select_for_update(no_key=True).filter(named_in__listing=listing).order_by("pk"))
    others = CapacityListing.objects.filter(firm=firm, state=ListingState.OPEN).exclude(pk=listing.pk)
    _refuse_too_many(others)
    refuse_overlap(listing, cards, others)
    transition(listing, ListingState.OPEN, now=now, actor=actor, seq=None)
    send(kind=MessageKind.LISTING, subject=listing.public_id, now=now)
    return listing


@transaction.atomic
def pause_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CapacityListing:
    """Take it out of the book for a while; running leases go on."""
    listing = listing_for_update(listing_of(firm, public_id).pk)
    transition(listing, ListingState.PAUSED, now=now, actor=actor)
    return listing


@transaction.atomic
def close_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CapacityListing:
    """Take it out of the book for good; running leases go on."""
    listing = listing_for_update(listing_of(firm, public_id).pk)
    transition(listing, ListingState.CLOSED, now=now, actor=actor)
    return listing


@transaction.atomic
def change_listing(
    *, firm: Firm, public_id: str, changes: Mapping[str, Any], actor: str, now: datetime
) -> CapacityListing:
    """Change price, durations, notice or the end of the window; running leases keep their terms."""
    listing = listing_for_update(listing_of(firm, public_id).pk)
    if listing.state == ListingState.CLOSED:
        raise Conflict("a closed listing can't be changed", code="wrong_state")
    for name, value in changes.items():
        setattr(listing, name, value)
    _check_ranges(listing, now)
    listing.save(update_fields=list(changes))
    record_event(firm_id=firm.pk, type="capacity_listing.changed", subject=listing.public_id, actor=actor, now=now)
    if listing.state == ListingState.OPEN:
        send(kind=MessageKind.LISTING, subject=listing.public_id, now=now)
    return listing


def close_ended_listings(*, now: datetime, limit: int = 500) -> int:
    """Close what is past its window; returns how many."""
    ended = CapacityListing.objects.filter(window_end_at__lte=now).exclude(state=ListingState.CLOSED)
    keys = list(ended.order_by("pk").values_list("pk", flat=True)[:limit])
    for pk in keys:
        with transaction.atomic():
            listing = listing_for_update(pk)
            if listing.state != ListingState.CLOSED:
                transition(listing, ListingState.CLOSED, now=now, reason="window_over")
    return len(keys)


def _check_terms(terms: ListingTerms, now: datetime) -> None:
    if sum(map(bool, (terms.cards, terms.pool_gpu, terms.node))) != 1:
        _refuse("/cards", "one_of", "name either cards, a pool or a node")
    if terms.currency not in settings.CURRENCIES:
        _refuse("/currency", "unknown", f"currencies are {', '.join(settings.CURRENCIES)}")
    _check_ranges(terms, now)


def _check_ranges(terms: ListingTerms | CapacityListing, now: datetime) -> None:
    if terms.window_end_at <= max(now, terms.window_start_at):
        _refuse("/window_end_at", "past", "the window must end in the future and after its start")
    if not settings.LEASE_SECONDS_MIN <= terms.duration_seconds_min <= terms.duration_seconds_max:
        _refuse(
            "/min_duration_seconds",
            "out_of_range",
            f"the shortest duration is at least {settings.LEASE_SECONDS_MIN} s and at most the longest",
        )
    if terms.duration_seconds_max > settings.LEASE_SECONDS_MAX:
        _refuse("/max_duration_seconds", "out_of_range", f"at most {settings.LEASE_SECONDS_MAX} s")


def _cards(firm: Firm, public_ids: tuple[str, ...], now: datetime) -> list[Card]:
    cards = list(Card.objects.filter(firm=firm, public_id__in=public_ids).order_by("pk"))
    if len(cards) < len(set(public_ids)):
        raise NotFound("one of these cards does not exist or is not yours")
    claims = Claim.objects.filter(card__in=cards, period__contains=now).exclude(kind=ClaimKind.PROVING)
    taken = claims.select_related("card").first()
    if taken:
        word = "sold" if taken.kind == ClaimKind.SALE else "leased"
        raise Conflict(f"{taken.card.public_id} is {word} at this moment", code=f"card_{word}")
    return cards


def _pool_model(terms: ListingTerms) -> GpuModel | None:
    if terms.pool_gpu is None:
        return None
    model = GpuModel.objects.filter(slug=terms.pool_gpu).first()
    if model is None:
        _refuse("/pool/gpu", "unknown", f"there is no GPU model {terms.pool_gpu}")
    return model


def _only_model_on(firm: Firm, node: str) -> str:
    if not Node.objects.filter(firm=firm, public_id=node).exists():
        raise NotFound("this node does not exist or is not yours")
    cards = Card.objects.filter(firm=firm, node__public_id=node)
    models = sorted(set(cards.values_list("gpu_model__slug", flat=True)))
    if len(models) != 1:
        _refuse("/node", "mixed", f"its cards are of {len(models)} models ({', '.join(models)}): list a pool of each")
    return models[0]


def _pool_node_ids(firm: Firm, public_ids: tuple[str, ...]) -> list[int]:
    nodes = list(Node.objects.filter(firm=firm, public_id__in=public_ids).values_list("pk", flat=True))
    if len(nodes) < len(set(public_ids)):
        raise NotFound("one of these nodes does not exist or is not yours")
    return sorted(nodes)


def _refuse_too_many(listings: QuerySet[CapacityListing]) -> None:
    if listings.count() >= settings.OPEN_LISTINGS_MAX:
        raise Conflict(
            f"at most {settings.OPEN_LISTINGS_MAX} listings at a time: close one first", code="too_many_listings"
        )


def _refuse(pointer: str, code: str, detail: str) -> None:
    raise Invalid(detail, errors=(FieldError(pointer, code, detail),))
