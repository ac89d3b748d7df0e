"""How reliable a node is: what became of the leases that it was given."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count, Q

from marketplace.leases.models import Lease
from marketplace.leases.states import BROKEN_BY_HOST
from nodes.services.reliability import record_reliability

RATED_FOR = timedelta(days=30)
LEASES_MIN = 5  # with fewer nobody knows anything
BASIS_POINTS = 10_000


def rate_nodes(*, now: datetime) -> None:
    """Tell every node's share of kept leases, in basis points rounded down.

    Counted are the leases that closed in the last 30 days and either became usable or never did because of the host.
    Kept are those that no reason of the host's ended. An image that can't be pulled says nothing about a host.
    """
    broken = Q(end_reason__in=BROKEN_BY_HOST)
    counts = (
        Lease.objects.filter(broken | Q(active_at__isnull=False), closed_at__gt=now - RATED_FOR)
        .values("node")
        .annotate(leases=Count("pk"), broken=Count("pk", filter=broken))
    )
    record_reliability(
        {
            each["node"]: BASIS_POINTS * (each["leases"] - each["broken"]) // each["leases"]
            for each in counts
            if each["leases"] >= LEASES_MIN
        }
    )
