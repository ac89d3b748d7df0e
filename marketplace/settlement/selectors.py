"""The reports of a lease as the metering reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from marketplace.leases.models import Lease
from marketplace.settlement.usage import ReportPoint
from nodes.agent.protocol import CARD_FIELDS, Health, Phase
from nodes.models import Assignment, Report

HEALTH = CARD_FIELDS.index("health")
LATE_REPORTS = timedelta(hours=1)  # how far behind its time of receipt a report can lie and still be read
NOT_USABLE = (
    Health.LOST
    | Health.RESET_REQUIRED
    | Health.XID
    | Health.ROW_REMAP_FAILED
    | Health.ECC_UNCORRECTED
    | Health.NVML_STALLED
)


@dataclass(frozen=True, slots=True)
class LeaseCards:
    """Where a lease's cards stand in its node's reports, and the epoch that must be running."""

    indexes: tuple[int, ...]
    epoch: int


def lease_cards(lease: Lease) -> LeaseCards:
    """The places of the lease's cards in the reports."""
    cards = [each.card for each in lease.lease_cards.select_related("card").order_by("card_id")]
    epochs = Assignment.objects.get(holder=lease.public_id).running_epochs
    return LeaseCards(tuple(card.index for card in cards), max(epochs.values()))


def report_points(lease: Lease, *, since: datetime, until: datetime) -> list[ReportPoint]:
    """What the node's reports observed in [since, until) say of the lease."""
    cards = lease_cards(lease)
    reports = Report.objects.filter(
        node_id=lease.node_id,
        received_at__gte=since,
        received_at__lt=until + LATE_REPORTS,
        observed_at__gte=since,
        observed_at__lt=until,
    )
    rows = reports.values_list("run", "seq", "mono_ms", "observed_at", "cards", "leases")
    return [
        ReportPoint(
            run=run,
            seq=seq,
            mono_ms=mono_ms,
            observed_ms=epoch_ms(observed_at),
            running=_is_running(lease.public_id, cards.epoch, leases or []),
            healthy=tuple(_is_usable(values, index) for index in cards.indexes),
        )
        for run, seq, mono_ms, observed_at, values, leases in rows.iterator()
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


def _is_usable(values: Sequence[float], index: int) -> bool:
    place = index * len(CARD_FIELDS) + HEALTH
    if place >= len(values) or math.isnan(values[place]):
        return False
    return not int(values[place]) & NOT_USABLE
