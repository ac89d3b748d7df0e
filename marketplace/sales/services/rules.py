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
        is_modified=listing.has_modified_memory,
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
    """The recorded answer for a sale, by what was said of the card when it was agreed."""
    return decide_sale(
        seller=sale.seller,
        buyer=sale.buyer,
        item=item_of(
            sale.listing.gpu_model,
            is_modified=sale.is_modified,
            as_rebuilt_for_datacentre=Flag.REBUILT_PCB in sale.flags,
            memory_mib=sale.listing.memory_mib,
        ),
        ships_from=sale.ships_from,
        ships_to=sale.ships_to,
        stage=stage,
        subject=sale.public_id,
        lab=sale.lab.firm if sale.lab else None,
        lab_country=sale.lab.country if sale.lab else None,
        now=now,
    )
