"""What an order's escrow still has to hold."""

from __future__ import annotations

from datetime import datetime

from marketplace.leases.models import Lease
from marketplace.leases.states import LIVE
from marketplace.orders.services.closing import return_surplus


def release_unneeded_escrow(*, lease: Lease, now: datetime) -> None:
    """Return what the order's escrow holds beyond the most that its live leases can still cost."""
    live = Lease.objects.filter(order=lease.order, state__in=LIVE)
    needed = sum(each.escrow_micros - each.settled_micros for each in live)
    return_surplus(order=lease.order, needed_micros=needed, ref=f"surplus:{lease.public_id}:{lease.state}", now=now)
