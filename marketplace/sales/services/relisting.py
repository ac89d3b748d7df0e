"""A sale that was cancelled lets its card go: it is offered again, unless its seller was at fault."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from listings.cards.models import CardListingCard
from listings.cards.selectors import card_listing_for_update
from listings.cards.services import put_back
from marketplace.sales.models import Sale
from marketplace.sales.states import SaleReason, SaleState

log = logging.getLogger(__name__)


def offer_again(*, now: datetime, limit: int = 500) -> int:
    """Put the cards of cancelled sales back into their lots; returns how many are for sale again.

    Work of its own, after the sale has ended: a listing is locked before any sale or wallet. A seller who did not ship
    has to list the card anew.
    """
    taken = CardListingCard.objects.filter(listing=OuterRef("listing"), taken_by=OuterRef("public_id"))
    cancelled = Sale.objects.filter(Exists(taken), state=SaleState.CANCELLED, card__firm=F("seller"))
    offered, faultless = 0, cancelled.exclude(end_reason=SaleReason.NOT_SHIPPED)
    for sale in faultless.select_related("card").order_by("pk")[:limit]:
        try:
            offered += _offer(sale, now)
        except Exception:  # one card that can't come back must not keep the others from it
            log.exception("the card of %s can't be offered again now", sale.public_id)
    return offered


@transaction.atomic
def _offer(sale: Sale, now: datetime) -> bool:
    return put_back(listing=card_listing_for_update(sale.listing_id), card=sale.card, sale=sale.public_id, now=now)
