"""What a lease's cards reported lately, as the charts take it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from marketplace.leases.models import Lease
from marketplace.leases.states import LIVE
from nodes.agent.protocol import CARD_FIELDS
from nodes.models import Report

WINDOW = timedelta(minutes=15)
LATE = timedelta(minutes=5)  # how long after its end a report of a lease may come in
POINTS_MAX = 180
SERIES = {
    "utilisation": "utilisation_percent",
    "memory": "memory_used_mib",
    "power": "power_w",
    "temperature": "temperature_c",
}


def lease_telemetry(lease: Lease, *, now: datetime) -> dict[str, Any]:
    """{"times": [unix seconds], "series": {name: [values per card]}, "final": whether more will come}."""
    until = lease.ended_at or now
    since = max(until - WINDOW, lease.active_at or lease.reserved_at)
    samples = _samples(lease.node_id, since, until)
    indexes = sorted(each.card.index for each in lease.lease_cards.all())
    return {
        "times": [int(at.timestamp()) for at, _ in samples],
        "series": {
            name: [[_value(cards, index, column) for _, cards in samples] for index in indexes]
            for name, column in SERIES.items()
        },
        "final": lease.state not in LIVE,
    }


def _samples(node_id: int, since: datetime, until: datetime) -> list[tuple[datetime, list[float]]]:
    reports = Report.objects.filter(
        node_id=node_id, received_at__gte=since, received_at__lte=until + LATE, observed_at__lte=until
    )
    by_time = dict(reports.order_by("observed_at").values_list("observed_at", "cards"))
    samples = list(by_time.items())
    step = max(1, math.ceil(len(samples) / POINTS_MAX))
    return samples[::-1][::step][::-1]


def _value(cards: list[float], index: int, column: str) -> float | int | None:
    place = index * len(CARD_FIELDS) + CARD_FIELDS.index(column)
    value = cards[place] if place < len(cards) else math.nan
    if math.isnan(value):
        return None
    return int(value) if value == int(value) else round(value, 1)
