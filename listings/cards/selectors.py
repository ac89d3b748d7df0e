"""Reading card listings, and the locks on them."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from listings.cards.models import CardListing, CardPhoto
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.common.errors import NotFound

SHOWN = (ListingState.OPEN, ListingState.PAUSED)


def all_card_listings() -> QuerySet[CardListing]:
    """Every card listing with what is shown of it."""
    listings = CardListing.objects.select_related("gpu_model", "firm")
    return listings.prefetch_related("lot__card__gpu_model", "photos")


def card_listings_of(firm: Firm) -> QuerySet[CardListing]:
    """The firm's own, in every state."""
    return all_card_listings().filter(firm=firm)


def card_listing_of(firm: Firm, public_id: str) -> CardListing:
    """One of the firm's own; NotFound for anything else."""
    return _one(card_listings_of(firm), public_id)


def visible_card_listing(firm: Firm | None, public_id: str) -> CardListing:
    """One that anybody may see, or one of the firm's own."""
    shown = Q(state__in=SHOWN)
    return _one(all_card_listings().filter(shown | Q(firm=firm) if firm else shown), public_id)


def open_card_listings() -> QuerySet[CardListing]:
    """What is for sale."""
    return all_card_listings().filter(state=ListingState.OPEN)


def card_listing_for_update(listing_id: int) -> CardListing:
    """The listing, locked until the end of the transaction."""
    return (
        CardListing.objects.select_for_update(no_key=True, of=("self",))
        .select_related("firm", "gpu_model")
        .get(pk=listing_id)
    )


def visible_photo(firm: Firm | None, public_id: str) -> CardPhoto:
    """A photo of one's own listing, or of one that was ever open: a buyer must see what closed when it was sold."""
    photos = CardPhoto.objects.select_related("listing").filter(public_id=public_id)
    shown = Q(listing__priced_at__isnull=False)
    photo = photos.filter(shown | Q(listing__firm=firm) if firm else shown).first()
    if photo is None:
        raise NotFound
    return photo


def _one(listings: QuerySet[CardListing], public_id: str) -> CardListing:
    listing = listings.filter(public_id=public_id).first()
    if listing is None:
        raise NotFound
    return listing
