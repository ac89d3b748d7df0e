"""Listing cards: what the seller may do with the standing sell side of hardware."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import transaction

from listings.cards.memory import nominal_mib
from listings.cards.models import CardListing, CardListingCard, CardPhoto
from listings.cards.photos import clean_photo
from listings.cards.proof import Refusal, prove_card
from listings.cards.selectors import card_listing_for_update, card_listing_of
from listings.cards.states import Flag, PhotoKind, worst_grade, zone_of
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.models import Card

CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # nothing that handwriting confuses
CODE_LENGTH = 6
PHOTOS_MAX = 20
PHOTOS_PER_DAY_MAX = 1000  # of a firm: drafts cost nothing, and a disk is full one day
LOT_MAX = 256
SOLD_OUT = "sold_out"
PHOTOS_NEEDED = (PhotoKind.FRONT, PhotoKind.CODE)


@dataclass(frozen=True, slots=True)
class CardTerms:
    """What a seller says of a card or a lot."""

    cards: tuple[str, ...]
    ask_micros: int
    currency: str
    appearance_grade: str
    ships_from: str
    ships_to: tuple[str, ...] = ()
    shipping_micros: int = 0
    shipping_abroad_micros: int | None = None
    flags: tuple[str, ...] = ()
    warranty_days: int = 0
    rent_counts_days: int = 0


@transaction.atomic
def create_card_listing(*, firm: Firm, terms: CardTerms, actor: str, now: datetime) -> CardListing:
    """A DRAFT with its code; photos follow, and `open_card_listing` puts it into the book."""
    if terms.currency not in settings.CURRENCIES:
        _refuse("/currency", "unknown", f"currencies are {', '.join(settings.CURRENCIES)}")
    cards = _like_cards(firm, terms.cards)
    listing = CardListing.objects.create(
        firm=firm,
        gpu_model=cards[0].gpu_model,
        memory_mib=nominal_mib(cards[0].memory_mib, cards[0].gpu_model.memory_sizes_mib),
        is_modified=cards[0].is_modified,
        ask_micros=terms.ask_micros,
        currency=terms.currency,
        appearance_grade=terms.appearance_grade,
        flags=sorted(set(terms.flags)),
        warranty_days=terms.warranty_days,
        ships_from=terms.ships_from,
        zone=zone_of(terms.ships_from),
        ships_to=sorted(set(terms.ships_to)),
        shipping_micros=terms.shipping_micros,
        shipping_abroad_micros=terms.shipping_abroad_micros,
        rent_counts_days=terms.rent_counts_days,
        code="".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH)),
        created_at=now,
    )
    CardListingCard.objects.bulk_create(CardListingCard(listing=listing, card=card) for card in cards)
    record_event(firm_id=firm.pk, type="card_listing.draft", subject=listing.public_id, actor=actor, now=now)
    return listing


def add_photo(*, firm: Firm, public_id: str, kind: str, data: bytes, now: datetime) -> CardPhoto:
    """Keep our own encoding of a photo. The same photo twice is one; Invalid says why one is refused."""
    photo = clean_photo(data)
    with transaction.atomic():
        listing = card_listing_for_update(card_listing_of(firm, public_id).pk)
        if listing.state == ListingState.CLOSED:
            raise Conflict("a closed listing can't be changed", code="wrong_state")
        known = listing.photos.filter(sha256=photo.sha256).first()
        if known is not None:
            return known
        if listing.photos.count() >= PHOTOS_MAX:
            raise Conflict(f"a listing has at most {PHOTOS_MAX} photos", code="too_many_photos")
        today = CardPhoto.objects.filter(listing__firm=firm, created_at__gt=now - timedelta(days=1))
        if today.count() >= PHOTOS_PER_DAY_MAX:
            raise Conflict(f"a firm sends at most {PHOTOS_PER_DAY_MAX} photos a day", code="too_many_photos")
        kept = CardPhoto(
            listing=listing,
            kind=kind,
            sha256=photo.sha256,
            width=photo.width,
            height=photo.height,
            created_at=now,
        )
        kept.file.save(f"{kept.public_id}.jpg", ContentFile(photo.data), save=False)
        kept.save()
        return kept


@transaction.atomic
def open_card_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CardListing:
    """Put it into the book. Refused as a whole, card by card with the reason, when one card can't be sold."""
    listing = card_listing_for_update(card_listing_of(firm, public_id).pk)
    if listing.state == ListingState.CLOSED:
        raise Conflict("a closed listing can't be opened: list the cards anew", code="wrong_state")
    _require_photos(listing)
    lot = list(listing.lot.select_related("card").filter(taken_by="").order_by("card_id"))
    list(Card.objects.select_for_update(no_key=True).filter(pk__in=[each.card_id for each in lot]).order_by("pk"))
    grades = [grade for each in lot if (grade := _prove(listing, each, lot, now))]
    for each in lot:
        each.is_live = True
    CardListingCard.objects.bulk_update(lot, ["passport", "is_live"])
    transition(listing, ListingState.OPEN, now=now, actor=actor, priced_at=now, function_grade=worst_grade(grades))
    return listing


@transaction.atomic
def pause_card_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CardListing:
    """Take it out of the book for a while; its cards stay tied to it."""
    listing = card_listing_for_update(card_listing_of(firm, public_id).pk)
    transition(listing, ListingState.PAUSED, now=now, actor=actor)
    return listing


@transaction.atomic
def close_card_listing(*, firm: Firm, public_id: str, actor: str, now: datetime) -> CardListing:
    """Take it out of the book for good; sales that were agreed go on."""
    listing = card_listing_for_update(card_listing_of(firm, public_id).pk)
    _close(listing, now=now, actor=actor)
    return listing


@transaction.atomic
def change_card_listing(
    *, firm: Firm, public_id: str, changes: Mapping[str, Any], actor: str, now: datetime
) -> CardListing:
    """Change price, shipping or terms; agreed sales keep theirs. A new price makes it the youngest in the book."""
    listing = card_listing_for_update(card_listing_of(firm, public_id).pk)
    if listing.state == ListingState.CLOSED:
        raise Conflict("a closed listing can't be changed", code="wrong_state")
    repriced = any(getattr(listing, name) != value for name, value in changes.items() if name.endswith("_micros"))
    for name, value in changes.items():
        setattr(listing, name, value)
    if listing.is_modified and Flag.MEMORY_MOD not in listing.flags and listing.state != ListingState.DRAFT:
        _refuse("/flags", "memory_mod_undisclosed", "the memory of these cards is modified: say so with `memory_mod`")
    if repriced and listing.priced_at:
        listing.priced_at = now
    listing.save(update_fields=[*changes, "priced_at"])
    record_event(firm_id=firm.pk, type="card_listing.changed", subject=listing.public_id, actor=actor, now=now)
    return listing


def take_cards(*, listing: CardListing, taken: Mapping[int, str], now: datetime) -> None:
    """Card id → the sale that has it; call it with the listing locked. A lot with nothing left closes."""
    for card_id, sale in taken.items():
        listing.lot.filter(card_id=card_id).update(is_live=False, taken_by=sale)
    if not listing.lot.filter(taken_by="").exists() and listing.state != ListingState.CLOSED:
        _close(listing, now=now, reason=SOLD_OUT)


def put_back(*, listing: CardListing, card: Card, sale: str, now: datetime) -> bool:
    """The sale has let the card go: it is for sale again if it is still there, at the old price and place in the book.

    Call it with the listing locked. A listing that closed because it was sold out opens again; one that its seller has
    closed stays so.
    """
    was_sold_out = listing.state == ListingState.CLOSED and listing.end_reason == SOLD_OUT
    freed = listing.lot.filter(card=card, taken_by=sale).update(taken_by="")
    may_be_sold = not isinstance(prove_card(listing=listing, card=card, now=now), Refusal)
    if not freed or not may_be_sold or (listing.state == ListingState.CLOSED and not was_sold_out):
        return False
    listing.lot.filter(card=card).update(is_live=True)
    if was_sold_out:
        transition(listing, ListingState.OPEN, now=now, reason="came_back", end_reason="")
    else:
        record_event(firm_id=listing.firm_id, type="card_listing.came_back", subject=listing.public_id, now=now)
    return True


def _close(listing: CardListing, *, now: datetime, actor: str = "system", reason: str = "") -> None:
    transition(listing, ListingState.CLOSED, now=now, actor=actor, reason=reason, end_reason=reason)
    listing.lot.filter(is_live=True).update(is_live=False)


def _like_cards(firm: Firm, public_ids: tuple[str, ...]) -> list[Card]:
    if not 0 < len(public_ids) <= LOT_MAX:
        _refuse("/cards", "out_of_range", f"a lot has 1 to {LOT_MAX} cards")
    cards = list(Card.objects.select_related("gpu_model").filter(firm=firm, public_id__in=public_ids).order_by("pk"))
    if len(cards) < len(set(public_ids)):
        raise NotFound("one of these cards does not exist or is not yours")
    kinds = {
        (card.gpu_model_id, nominal_mib(card.memory_mib, card.gpu_model.memory_sizes_mib), card.is_modified)
        for card in cards
    }
    if len(kinds) > 1:
        _refuse("/cards", "not_alike", "the cards of a lot are of one model with the same memory")
    return cards


def _require_photos(listing: CardListing) -> None:
    kinds = set(listing.photos.values_list("kind", flat=True))
    missing = [str(kind) for kind in PHOTOS_NEEDED if kind not in kinds]
    if missing:
        raise Conflict(
            f"photos are missing: {', '.join(missing)} (the last one shows the card beside the code {listing.code})",
            code="photos_missing",
        )


def _prove(listing: CardListing, each: CardListingCard, lot: list[CardListingCard], now: datetime) -> str:
    """Note the card's passport and return its grade; the first card that fails refuses the whole lot."""
    found = prove_card(listing=listing, card=each.card, now=now)
    if not isinstance(found, Refusal):
        each.passport = found.public_id
        return found.function_grade
    place = [one.card_id for one in lot].index(each.card_id)
    detail = f"{each.card.public_id}: {found.detail}"
    raise Conflict(detail, code=found.code, errors=(FieldError(f"/cards/{place}", found.code, detail),))


def _refuse(pointer: str, code: str, detail: str) -> None:
    raise Invalid(detail, code=code, errors=(FieldError(pointer, code, detail),))
