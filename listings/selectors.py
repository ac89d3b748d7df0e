"""Reading listings, and the locks on them."""

from __future__ import annotations

from django.db.models import QuerySet

from listings.models import CapacityListing
from marketplace.accounts.models import Firm
from marketplace.common.errors import NotFound


def listings_of(firm: Firm) -> QuerySet[CapacityListing]:
    """The firm's listings with what they name."""
    listings = CapacityListing.objects.filter(firm=firm).select_related("pool_model")
    return listings.prefetch_related("named_cards__card")


def listing_of(firm: Firm, public_id: str) -> CapacityListing:
    """One of them; NotFound for anything else."""
    listing = listings_of(firm).filter(public_id=public_id).first()
    if listing is None:
        raise NotFound
    return listing


def listing_for_update(listing_id: int) -> CapacityListing:
    """The listing, locked until the end of the transaction."""
    return CapacityListing.objects.select_for_update().get(pk=listing_id)
