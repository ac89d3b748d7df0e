"""What an order's escrow still has to hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from marketplace.leases.models import Lease
from marketplace.leases.states import BUYERS_FAULT, LIVE, NOT_YET_USABLE, LeaseState
from marketplace.orders.models import Order
from marketplace.orders.services.closing import return_surplus
from marketplace.orders.states import OrderState


def release_unneeded_escrow(*, lease: Lease, now: datetime) -> None:
    """Return what the order's escrow holds beyond the most that its live leases can still cost.

    Call it with the order locked. An order that may still go back into the book whole keeps everything for that.
    """
    needed = needed_micros(lease.order, list(Lease.objects.filter(order=lease.order)))
    return_surplus(order=lease.order, needed_micros=needed, ref=f"surplus:{lease.public_id}:{lease.state}", now=now)


def needed_micros(order: Order, leases: Collection[Lease]) -> int:
    """The most that an order with these leases can still cost."""
    if order.state == OrderState.OPEN or (order.state == OrderState.FILLED and may_reopen(leases)):
        return order.escrow_micros
    return sum(lease.escrow_micros - lease.settled_micros for lease in leases if lease.state in LIVE)


def may_reopen(leases: Iterable[Lease]) -> bool:
    """Whether an order with these leases has had nothing of them yet, and none was ended by its buyer."""
    return all(
        lease.state in NOT_YET_USABLE or (lease.state == LeaseState.FAILED and lease.end_reason not in BUYERS_FAULT)
        for lease in leases
    )
