"""A fill becomes a lease: claims, price and fee fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from listings.models import CapacityListing
from marketplace.book.pricing import worst_case_micros
from marketplace.events.services import record_event
from marketplace.leases.models import Lease, LeaseCard
from marketplace.orders.models import Order
from nodes.models import Node
from nodes.services.claims import CardsTaken, take_claims
from nodes.services.fleet import keep_online
from nodes.states import ClaimKind


@dataclass(frozen=True, slots=True)
class Terms:
    """What a round has fixed for one lease."""

    listing: CapacityListing
    node: Node
    gpu: str
    card_ids: Sequence[int]
    price_micros_per_gpu_hour: int
    claim_start: datetime
    claim_end: datetime


@transaction.atomic
def reserve_lease(*, order: Order, terms: Terms, now: datetime) -> Lease:
    """Claim the cards for the buyer. Raises CardsTaken when one of them, or their node, is not to be had any more."""
    if not keep_online(terms.node):
        raise CardsTaken("this node no longer takes leases")
    lease = Lease.objects.create(
        order=order,
        buyer=order.firm,
        seller=terms.listing.firm,
        listing=terms.listing,
        node=terms.node,
        gpu=terms.gpu,
        card_count=len(terms.card_ids),
        duration_seconds=order.duration_seconds,
        duration_seconds_min=terms.listing.duration_seconds_min,
        price_micros_per_gpu_hour=terms.price_micros_per_gpu_hour,
        currency=order.currency,
        fee_basis_points=settings.PLATFORM_FEE_BASIS_POINTS,
        escrow_micros=worst_case_micros(
            price_micros_per_gpu_hour=terms.price_micros_per_gpu_hour,
            count=len(terms.card_ids),
            duration_seconds=order.duration_seconds,
        ),
        reserved_at=now,
        deadline_at=now + timedelta(seconds=settings.START_DEADLINE_SECONDS),
    )
    claims = take_claims(
        cards=terms.card_ids,
        start=terms.claim_start,
        end=terms.claim_end,
        kind=ClaimKind.LEASE,
        holder=lease.public_id,
    )
    LeaseCard.objects.bulk_create(
        LeaseCard(lease=lease, card_id=card, claim_id=claim) for card, claim in sorted(claims.items())
    )
    for firm_id in lease.event_firm_ids:
        record_event(firm_id=firm_id, type="lease.reserved", subject=lease.public_id, now=now)
    return lease
