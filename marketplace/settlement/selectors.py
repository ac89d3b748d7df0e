"""The reports of a lease as the metering reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings

from marketplace.leases.models import Lease
from marketplace.settlement.usage import ReportPoint
from nodes.agent.protocol import CARD_FIELDS, Phase
from nodes.availability import UNUSABLE
from nodes.models import Assignment, Report
from nodes.selectors import places_of

HEALTH = CARD_FIELDS.index("health")
LATE_REPORTS = timedelta(hours=1)  # how far behind its time of receipt a report can lie and still be read


def report_points(lease: Lease, *, since: datetime, until: datetime) -> list[ReportPoint]:
    """What the node's reports observed in [since, until) say of the lease."""
    cards = [each.card for each in lease.lease_cards.select_related("card").order_by("card_id")]
    epoch = max(Assignment.objects.get(holder=lease.public_id).running_epochs.values())
    places = places_of(lease.node_id)
    reports = Report.objects.filter(
        node_id=lease.node_id,
        received_at__gte=since,
        received_at__lt=until + LATE_REPORTS,
        observed_at__gte=since,
        observed_at__lt=until,
    )
    rows = reports.values_list("run", "seq", "mono_ms", "observed_at", "received_at", "cards", "leases")
    return [
        ReportPoint(
            run=run,
            seq=seq,
            mono_ms=mono_ms,
            observed_ms=epoch_ms(observed_at),
            running=_is_running(lease.public_id, epoch, leases or []),
            healthy=tuple(_is_usable(values, places.of(card, received_at)) for card in cards),
        )
        for run, seq, mono_ms, observed_at, received_at, values, leases in rows.iterator()
    ]


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, exact."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_epoch_ms(ms: int) -> datetime:
    """The time of `epoch_ms`."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def gap_max_ms() -> int:
    """The longest pause between two reports that still proves use."""
    return settings.STALE_SECONDS * 1000


def _is_running(lease: str, epoch: int, leases: Sequence[Sequence[object]]) -> bool:
    return [lease, epoch, Phase.RUNNING.value] in [list(each) for each in leases]


def _is_usable(values: Sequence[float], place_of_card: int | None) -> bool:
    if place_of_card is None:
        return False
    place = place_of_card * len(CARD_FIELDS) + HEALTH
    if place >= len(values) or math.isnan(values[place]):
        return False
    return not int(values[place]) & UNUSABLE
