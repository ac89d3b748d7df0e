"""What a lease's cards reported lately, as the charts take it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marketplace.leases.models import Lease
from marketplace.leases.states import LIVE
from marketplace.leases.telemetry import lease_series

WINDOW = timedelta(minutes=15)
STEP_SECONDS = 10
SERIES = {
    "utilisation": "utilisation_percent",
    "memory": "memory_used_mib",
    "power": "power_w",
    "temperature": "temperature_c",
}


def lease_charts(lease: Lease, *, now: datetime) -> dict[str, Any]:
    """{"times": [unix seconds], "series": {name: [values per card]}, "final": whether no more will come}."""
    cards = lease_series(lease, {}, now=now, length=WINDOW, step_seconds=STEP_SECONDS)["cards"]
    by_time = [{point["at"]: point for point in card["points"]} for card in cards]
    times = sorted(set().union(*by_time))
    return {
        "times": [int(at.timestamp()) for at in times],
        "series": {
            name: [[_value(points.get(at, {}).get(column)) for at in times] for points in by_time]
            for name, column in SERIES.items()
        },
        "final": lease.state not in LIVE,
    }


def _value(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
