"""What a lease's cards were doing while it held them, and never before or after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from marketplace.leases.models import Lease
from nodes.telemetry import card_series, stretch


def lease_series(
    lease: Lease, query: Mapping[str, Any], *, now: datetime, length: timedelta, step_seconds: int
) -> dict[str, Any]:
    """The asked stretch, cut to the lease's own time, and in it each card's averages over steps.

    Without `since` the last `length` is shown. Raises Invalid for a stretch that makes no sense.
    """
    begin, end = lease.active_at or lease.reserved_at, lease.ended_at or now
    asked = stretch(query, now=end, length=length, step_seconds=step_seconds)
    over = dataclasses.replace(asked, since=min(max(asked.since, begin), asked.until))
    cards = [each.card for each in lease.lease_cards.all()]
    return over.json() | {"cards": card_series(lease.node, cards, over)}
