"""Offers: computed search results, never stored. An offer's id is a signed description of what was shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core import signing

from listings.models import CapacityListing
from listings.states import ListingState
from marketplace.common.errors import Conflict, Invalid

SALT = "fallow.offer"


@dataclass(frozen=True, slots=True)
class Offer:
    """`count` idle cards of one kind, as they were measured at `observed_at`: on one node of one listing, or spread.

    A spread offer has `parts`, the cheapest first, and its listing and node are those of the first.
    """

    key: str
    seq: int
    cards: tuple[int, ...]
    listing: str
    node: str
    node_name: str
    seller: str
    gpu: str
    gpu_name: str
    memory_mib: int
    is_modified: bool
    tier: str
    region: str
    country: str
    count: int
    price_micros_per_gpu_hour: int
    currency: str
    duration_seconds_min: int
    duration_seconds_max: int
    reclaim_notice_seconds: int
    available_until: datetime
    observed_at: datetime
    driver_version: str | None = None
    cpu_count: int | None = None
    node_memory_mib: int | None = None
    reliability_basis_points: int | None = None  # null while too little is known
    parts: tuple[Offer, ...] = ()

    @property
    def age(self) -> tuple[int, str]:
        """Sorts older offers first, as the matcher does."""
        return self.seq, self.key

    @property
    def stale_after(self) -> datetime:
        """When nobody should believe it any more unless a newer report has come."""
        return self.observed_at + timedelta(seconds=settings.STALE_SECONDS)

    def token(self, now: datetime) -> str:
        """The opaque id: it names the listing, the node, the model and the price that was shown."""
        shown = [self.listing, self.node, self.gpu, self.memory_mib]
        shown += [self.price_micros_per_gpu_hour, self.currency, int(now.timestamp())]
        return signing.dumps(shown, salt=SALT)


@dataclass(frozen=True, slots=True)
class OfferToken:
    """What an offer's id says, and the price of its listing now."""

    listing: str
    node: str
    gpu: str
    memory_mib: int
    price_micros: int
    currency: str
    current_price_micros: int


def read_offer_token(text: str, *, now: datetime) -> OfferToken:
    """The offer behind an id. Invalid when it is not one of ours, Conflict when it is old or its listing is closed."""
    try:
        listing_id, node, gpu, memory_mib, price, currency, shown_at = signing.loads(text, salt=SALT)
    except (signing.BadSignature, ValueError) as error:
        raise Invalid("this is not the id of an offer", code="bad_offer") from error
    if now.timestamp() - shown_at > settings.QUOTE_SECONDS:
        raise Conflict("this quote is too old: search again", code="quote_stale")
    listing = CapacityListing.objects.filter(public_id=listing_id, state=ListingState.OPEN).first()
    if listing is None:
        raise Conflict("this offer is gone", code="offer_gone")
    return OfferToken(
        listing=listing_id,
        node=node,
        gpu=gpu,
        memory_mib=memory_mib,
        price_micros=price,
        currency=currency,
        current_price_micros=listing.ask_micros_per_gpu_hour,
    )
