"""From the reports of one lease to GPU-milliseconds that were usable and proven. Pure: no database, no clock.

Two consecutive reports of one run of the agent prove the time between them, when both say that the lease was running
and neither the run nor the boot clock was interrupted. Nothing else is ever charged: not a gap, not an unhealthy card,
not a second outside the paid window, and never more than has passed on the server's own clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class ReportPoint:
    """What one report says of a lease. `observed_ms` is server time, `mono_ms` the host's boot clock, both in ms."""

    run: int
    seq: int
    mono_ms: int
    observed_ms: int
    running: bool
    healthy: tuple[bool, ...]  # per card of the lease


@dataclass(frozen=True, slots=True)
class Window:
    """The paid window [start, end) in server ms, and the longest pause between two reports that still proves use."""

    start_ms: int
    end_ms: int
    gap_max_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """GPU-ms so far; `frozen_gpu_ms` up to `frozen_through_ms` no longer changes, whatever arrives late."""

    gpu_ms: int = 0
    proven_until_ms: int | None = None
    frozen_gpu_ms: int = 0
    frozen_through_ms: int | None = None


def usage_after(*, before: Usage, points: Iterable[ReportPoint], window: Window, freeze_before_ms: int) -> Usage:
    """The usage with the reports observed from the frozen point on (older ones are ignored, so they may be left out).

    What ends before `freeze_before_ms` is frozen, and so is all that reports without a gap tell: none is missing that
    could come late. The two points around a frozen boundary must both be given.
    """
    since = window.start_ms if before.frozen_through_ms is None else before.frozen_through_ms
    unique = {(point.run, point.seq): point for point in points}
    ordered = [unique[key] for key in sorted(unique)]
    spans = [(start, end, cards) for start, end, cards in _proven_spans(ordered, window) if end > since]
    complete = _complete_through(ordered, since)
    boundary = max(since, min(max(freeze_before_ms, complete), window.end_ms))
    frozen = before.frozen_gpu_ms + _gpu_ms(spans, since, boundary)
    open_part = _gpu_ms(spans, boundary, window.end_ms)
    proven = max((end for _, end, _ in spans), default=before.proven_until_ms)
    return Usage(frozen + open_part, proven, frozen, boundary)


def _complete_through(ordered: Sequence[ReportPoint], since: int) -> int:
    """Up to when every report is there, from `since` on: one run, number after number, each later than the one before.

    `since` when it can't be told.
    """
    if not ordered or ordered[0].observed_ms > since:
        return since
    follows = all(a.run == b.run and a.seq + 1 == b.seq and a.observed_ms < b.observed_ms for a, b in pairwise(ordered))
    return ordered[-1].observed_ms if follows else since


def _proven_spans(ordered: Sequence[ReportPoint], window: Window) -> list[tuple[int, int, int]]:
    """Disjoint (start, end, healthy cards) in server ms, inside the window, in order."""
    spans: list[tuple[int, int, int]] = []
    free_from = window.start_ms
    for earlier, later in _pairs(ordered):
        span = _span(earlier, later, window)
        if span is None:
            continue
        start, end, cards = span
        start = max(start, free_from)  # time that another run has proved is not counted twice
        if end > start:
            spans.append((start, end, cards))
            free_from = end
    return spans


def _pairs(ordered: Sequence[ReportPoint]) -> Iterable[tuple[ReportPoint, ReportPoint]]:
    """Neighbours within a run, ordered by the end of their time."""
    pairs = [(a, b) for a, b in pairwise(ordered) if a.run == b.run]
    return sorted(pairs, key=lambda pair: (pair[1].observed_ms, pair[1].run, pair[1].seq))


def _span(earlier: ReportPoint, later: ReportPoint, window: Window) -> tuple[int, int, int] | None:
    length = min(later.mono_ms - earlier.mono_ms, later.observed_ms - earlier.observed_ms)
    if not (earlier.running and later.running) or not 0 < length <= window.gap_max_ms:
        return None
    end = min(later.observed_ms, window.end_ms)
    start = max(later.observed_ms - length, window.start_ms)
    cards = sum(a and b for a, b in zip(earlier.healthy, later.healthy, strict=False))
    return start, end, cards


def _gpu_ms(spans: Sequence[tuple[int, int, int]], since: int, until: int) -> int:
    return sum(max(0, min(end, until) - max(start, since)) * cards for start, end, cards in spans)
