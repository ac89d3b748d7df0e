"""Asking the export rules about a sale, at each stage on its way."""

from __future__ import annotations

from datetime import datetime

from listings.cards.states import Flag
from listings.models import CardListing
from marketplace.accounts.models import Firm
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.services import Item, Stage, decide_sale, item_of
from marketplace.sales.models import Lab, Sale

ALLOW, BLOCK = "allow", "block"


def item_in(listing: CardListing) -> Item:
    """What is sold, as the rules see it."""
    return item_of(
        listing.gpu_model,
        is_modified=listing.is_modified or Flag.MEMORY_MOD in listing.flags,
        as_rebuilt_for_datacentre=Flag.REBUILT_PCB in listing.flags,
        memory_mib=listing.memory_mib,
    )


def decide(
    *,
    listing: CardListing,
    buyer: Firm,
    ships_to: str,
    stage: Stage,
    subject: str,
    now: datetime,
    lab: Lab | None = None,
) -> ComplianceDecision:
    """The recorded answer for one listing and one buyer."""
    return decide_sale(
        seller=listing.firm,
        buyer=buyer,
        item=item_in(listing),
        ships_from=listing.ships_from,
        ships_to=ships_to,
        stage=stage,
        subject=subject,
        lab=lab.firm if lab else None,
        lab_country=lab.country if lab else None,
        now=now,
    )


def decide_for(sale: Sale, *, stage: Stage, now: datetime) -> ComplianceDecision:
    """The recorded answer for a sale."""
    return decide(
        listing=sale.listing,
        buyer=sale.buyer,
        ships_to=sale.ships_to,
        stage=stage,
        subject=sale.public_id,
        lab=sale.lab,
        now=now,
    )
