"""The reports of a lease as the metering reads them."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection

from marketplace.leases.models import Lease, LeaseCard
from marketplace.settlement.usage import ReportPoint
from nodes.agent.protocol import CARD_FIELDS, Phase
from nodes.availability import UNUSABLE
from nodes.models import Assignment, Card
from nodes.selectors import Places, places_of

HEALTH = CARD_FIELDS.index("health")
FAULTS = int(UNUSABLE)
LATE_REPORTS = timedelta(hours=1)  # how far behind its time of receipt a report can lie and still be read
# Of each card its health alone: a report of eight cards has eighty values. `first` and `last` say which partitions.
REPORTS = """
SELECT r.node_id, r.run, r.seq, r.mono_ms, r.observed_at, r.received_at,
    ARRAY(SELECT r.cards[place] FROM generate_series(%(health)s, cardinality(r.cards), %(fields)s) place), r.leases
FROM unnest(%(nodes)s::bigint[], %(since)s::timestamptz[], %(until)s::timestamptz[]) w(node_id, since, until)
JOIN nodes_report r ON r.node_id = w.node_id AND r.received_at >= w.since AND r.received_at < w.until + %(late)s
    AND r.observed_at >= w.since AND r.observed_at < w.until
WHERE r.received_at >= %(first)s AND r.received_at < %(last)s + %(late)s::interval
"""


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be read of a lease's reports: those observed in [since, until)."""

    lease: Lease
    since: datetime
    until: datetime


def report_points(lease: Lease, *, since: datetime, until: datetime) -> list[ReportPoint]:
    """What the node's reports observed in [since, until) say of the lease."""
    return points_of([Span(lease, since, until)])[lease.pk]


def points_of(spans: Sequence[Span]) -> dict[int, list[ReportPoint]]:
    """The same for many leases with as many queries, by the key of the lease; leases of one node share its reports."""
    cards: dict[int, list[Card]] = defaultdict(list)
    rows = LeaseCard.objects.filter(lease__in=[each.lease.pk for each in spans]).select_related("card")
    for row in rows.order_by("card_id"):
        cards[row.lease_id].append(row.card)
    epochs = dict(
        Assignment.objects.filter(holder__in=[each.lease.public_id for each in spans]).values_list(
            "holder", "running_epochs"
        )
    )
    reports = _reports_of(spans)
    places = places_of(reports.keys())
    return {
        each.lease.pk: _points(each, epochs[each.lease.public_id], cards[each.lease.pk], places, reports)
        for each in spans
    }


def _points(
    span: Span,
    epochs: Mapping[str, int],
    cards: Sequence[Card],
    places: Mapping[int, Places],
    reports: Mapping[int, Sequence[_Report]],
) -> list[ReportPoint]:
    lease, of_node = span.lease, places[span.lease.node_id]
    said = [lease.public_id, max(epochs.values()), Phase.RUNNING.value]
    return [
        ReportPoint(
            run=each.run,
            seq=each.seq,
            mono_ms=each.mono_ms,
            observed_ms=each.observed_ms,
            running=said in each.leases,
            healthy=tuple([_is_usable(each.health, of_node.of(card, each.received_at)) for card in cards]),
        )
        for each in reports[lease.node_id]
        if span.since <= each.observed_at < span.until
    ]


class _Report(NamedTuple):
    """The columns that metering reads; `health` is one value per card, in the order of the report."""

    run: int
    seq: int
    mono_ms: int
    observed_ms: int
    observed_at: datetime
    received_at: datetime
    health: list[float | None]
    leases: list[list[object]]


def _reports_of(spans: Sequence[Span]) -> dict[int, list[_Report]]:
    windows: dict[int, tuple[datetime, datetime]] = {}
    for each in spans:
        since, until = windows.get(each.lease.node_id, (each.since, each.until))
        windows[each.lease.node_id] = min(since, each.since), max(until, each.until)
    given: dict[str, Any] = {
        "nodes": list(windows),
        "since": [since for since, _ in windows.values()],
        "until": [until for _, until in windows.values()],
        "first": min(each.since for each in spans),
        "last": max(each.until for each in spans),
        "late": LATE_REPORTS,
        "health": HEALTH + 1,
        "fields": len(CARD_FIELDS),
    }
    found: dict[int, list[_Report]] = {node: [] for node in windows}
    with connection.cursor() as cursor:
        cursor.execute(REPORTS, given)
        for node_id, run, seq, mono_ms, observed_at, received_at, health, leases in cursor.fetchall():
            said = json.loads(leases) if leases else []
            report = _Report(run, seq, mono_ms, epoch_ms(observed_at), observed_at, received_at, health, said)
            found[node_id].append(report)
    return found


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, exact."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_epoch_ms(ms: int) -> datetime:
    """The time of `epoch_ms`."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def gap_max_ms() -> int:
    """The longest pause between two reports that still proves use."""
    return settings.STALE_SECONDS * 1000


def _is_usable(health: Sequence[float | None], place_of_card: int | None) -> bool:
    if place_of_card is None or place_of_card >= len(health):
        return False
    value = health[place_of_card]
    return value is not None and not math.isnan(value) and not int(value) & FAULTS
