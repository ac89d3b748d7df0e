"""Where the card is, by the hosts that report it: nobody can say that it never came while their own host has it."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.sales.models import Sale
from marketplace.sales.selectors import sale_for_update
from marketplace.sales.services.moving import move, step
from marketplace.sales.silence import Step, step_of
from marketplace.sales.states import SaleState
from nodes.models import CardOrder, CardTransfer

TRAVELS = (SaleState.SHIPPED, SaleState.DISPUTED, SaleState.RETURNING)
log = logging.getLogger(__name__)


def notice_arrivals(*, now: datetime, limit: int = 500) -> int:
    """Let what the receiver's own host reports count as arrived; returns how many sales moved.

    A host's inventory is signed by its firm's node, so it is the receiver's word and no carrier's.
    """
    moved = 0
    travelling = Sale.objects.filter(state__in=TRAVELS).select_related("card", "buyer", "seller", "lab__firm")
    for sale in travelling.order_by("pk"):
        if not _is_there(sale):
            continue
        try:
            moved += _arrive(sale.pk, now)
        except Exception:  # one sale that can't move on must not keep the others from theirs
            log.exception("the arrival of %s can't be noted now", sale.public_id)
        if moved >= limit:
            break
    return moved


def arrive(sale: Sale, *, now: datetime, actor: str = "system") -> None:
    """SHIPPED → RECEIVED → INSPECTING: the card is with its buyer, and the time for looking at it runs."""
    move(sale, SaleState.RECEIVED, now=now, actor=actor, received_at=now)
    move(sale, SaleState.INSPECTING, now=now, actor=actor)


def arrive_where_it_goes(sale: Sale, *, now: datetime, actor: str = "system") -> bool:
    """It is with whom it was sent to, whatever that one says; False when nothing is on its way."""
    match step_of(sale.facts()):
        case Step.TO_BUYER | Step.FROM_LAB:
            arrive(sale, now=now, actor=actor)
        case Step.TO_LAB:
            step(sale, "at_lab", now=now, actor=actor, lab_received_at=now)
        case Step.ON_ITS_WAY_BACK | Step.DISPUTED_RETURN_UNPROVEN:
            step(sale, "came_back", now=now, actor=actor, came_back_at=now)
        case Step.DISPUTED_UNDELIVERED if sale.lab is None or sale.lab_passed_at:
            step(sale, "delivery_proved", now=now, actor=actor, received_at=now)
        case _:
            return False
    return True


@transaction.atomic
def _arrive(sale_id: int, now: datetime) -> bool:
    sale = sale_for_update(sale_id)
    return _is_there(sale) and arrive_where_it_goes(sale, now=now)


def _receiver(sale: Sale) -> tuple[Firm, datetime | None] | None:
    """Who waits for the card, and since when it travels there; None when nobody does."""
    match step_of(sale.facts()):
        case Step.TO_BUYER | Step.FROM_LAB:
            return sale.buyer, sale.lab_passed_at or sale.shipped_at
        case Step.DISPUTED_UNDELIVERED if sale.lab is None or sale.lab_passed_at:
            return sale.buyer, sale.lab_passed_at or sale.shipped_at
        case Step.TO_LAB if sale.lab:
            return sale.lab.firm, sale.shipped_at
        case Step.ON_ITS_WAY_BACK | Step.DISPUTED_RETURN_UNPROVEN:
            return sale.seller, sale.sent_back_at
    return None


def _is_there(sale: Sale) -> bool:
    """Whether a host of the receiver reports the card since it was sent there."""
    found = _receiver(sale)
    if found is None:
        return False
    receiver, since = found
    arrived = CardTransfer.objects.filter(holder=sale.public_id, to_firm=receiver, ended_at=None)
    if arrived.filter(arrived_at__isnull=False).exists():
        return True
    if sale.card.firm_id != receiver.pk or since is None:
        return False
    orders = CardOrder.objects.filter(node=sale.card.node_id, since_at__gte=since)
    return orders.filter(uuids__contains=[sale.card.uuid]).exists()
