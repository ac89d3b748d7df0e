"""What an order's escrow still has to hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from marketplace.leases.models import Lease
from marketplace.leases.states import BUYERS_FAULT, LIVE, NOT_YET_USABLE, LeaseState
from marketplace.orders.services.closing import return_surplus


def release_unneeded_escrow(*, lease: Lease, now: datetime) -> None:
    """Return what the order's escrow holds beyond the most that its live leases can still cost.

    Call it with the order locked. An order that may still go back into the book whole keeps everything for that.
    """
    leases = list(Lease.objects.filter(order=lease.order))
    if not may_reopen(leases):
        needed = sum(each.escrow_micros - each.settled_micros for each in leases if each.state in LIVE)
        ref = f"surplus:{lease.public_id}:{lease.state}"
        return_surplus(order=lease.order, needed_micros=needed, ref=ref, now=now)


def may_reopen(leases: Iterable[Lease]) -> bool:
    """Whether an order with these leases has had nothing of them yet, and none was ended by its buyer."""
    return all(
        lease.state in NOT_YET_USABLE or (lease.state == LeaseState.FAILED and lease.end_reason not in BUYERS_FAULT)
        for lease in leases
    )
