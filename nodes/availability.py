"""What a card is doing, from a window of its samples. Pure: no database, no clock.

Utilisation alone proves nothing: a card can latch 100 % with nobody on it (a ghost), and a server that holds the
memory sits at 0 %. So a card is idle only when for the whole window there was no process of its owner's, its memory
was near the baseline, its utilisation was low, it was healthy and its owner lets it be rented. One busy sample ends it.
"""

from __future__ import annotations

import enum
import functools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from nodes.agent.protocol import Health


class Availability(enum.StrEnum):
    """Only IDLE may be offered for a start now."""

    IDLE = "idle"
    LEASED = "leased"
    CONTENDED = "contended"
    OWNER_USED = "owner_used"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
    GHOST = "ghost"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading; None where the card or driver does not offer it. Percent, MiB, server time in ms."""

    observed_ms: int
    utilisation_percent: float | None
    memory_used_mib: float | None
    owner_processes: float | None
    health: int


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the server knows beside the samples. `free_since_ms` is when the last lease gave the card back, clean."""

    memory_total_mib: int
    baseline_mib: float | None = None
    is_leased: bool = False
    is_draining: bool = False
    free_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class IdlePolicy:
    """When a card counts as idle; milliseconds unless the name says otherwise."""

    idle_after_ms: int
    heartbeat_ms: int
    lost_after_ms: int
    gap_max_ms: int = 30_000
    coverage_percent_min: int = 95
    utilisation_p95_percent_max: float = 5.0
    memory_slack_mib: float = 64.0
    memory_slack_percent: float = 1.0
    ghost_utilisation_percent: float = 50.0
    ghost_after_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, and why in stable words."""

    availability: Availability
    reasons: tuple[str, ...] = ()


UNHEALTHY = {
    Health.RESET_REQUIRED: "reset_required",
    Health.XID: "critical_xid",
    Health.ROW_REMAP_FAILED: "row_remap_failed",
    Health.ROW_REMAP_PENDING: "row_remap_pending",
    Health.HARDWARE_SLOWDOWN: "hardware_slowdown",
    Health.ECC_UNCORRECTED: "uncorrected_ecc_error",
    Health.RECOVERY_WANTED: "recovery_wanted",
    Health.NVML_STALLED: "nvml_stalled",
}
GPU_LOST = "gpu_lost"
UNUSABLE = Health.LOST | functools.reduce(operator.or_, UNHEALTHY)
"""A reading with one of these is no reading of a card that could be used."""


def availability(samples: Iterable[Sample], facts: CardFacts, policy: IdlePolicy, *, now_ms: int) -> Verdict:
    """Judge a card at `now_ms` by its samples, in any order."""
    ordered = sorted(samples, key=lambda sample: sample.observed_ms)
    if not ordered or now_ms - ordered[-1].observed_ms > policy.lost_after_ms:
        return Verdict(Availability.LOST, ("no_reports",))
    newest = ordered[-1]
    if newest.health & Health.LOST:
        return Verdict(Availability.LOST, (GPU_LOST,))
    if wrong := tuple(text for flag, text in UNHEALTHY.items() if newest.health & flag):
        return Verdict(Availability.UNHEALTHY, wrong)
    if facts.is_leased:
        return Verdict(Availability.CONTENDED, ("owner_process",)) if newest.owner_processes else LEASED
    if facts.is_draining:
        return Verdict(Availability.DRAINING, ("draining",))
    return _owners_use(ordered, facts, policy, now_ms)


def learned_baseline(previous_mib: float | None, sample: Sample) -> float | None:
    """The least memory that the card was seen with while nobody's process was on it; it only ever falls."""
    if sample.memory_used_mib is None or sample.owner_processes != 0:
        return previous_mib
    return sample.memory_used_mib if previous_mib is None else min(previous_mib, sample.memory_used_mib)


LEASED = Verdict(Availability.LEASED)


def _owners_use(ordered: Sequence[Sample], facts: CardFacts, policy: IdlePolicy, now_ms: int) -> Verdict:
    if ordered[-1].health & Health.MIG_ENABLED:
        return Verdict(Availability.OWNER_USED, ("mig_enabled",))
    if busy := _why_busy(ordered[-1], facts, policy):
        return Verdict(Availability.OWNER_USED, busy)
    if _is_ghost(ordered, facts, policy):
        return Verdict(Availability.GHOST, ("load_without_process",))
    if (ordered[-1].utilisation_percent or 0) > policy.ghost_utilisation_percent:
        return Verdict(Availability.OWNER_USED, ("utilisation",))
    reasons = _why_not_idle(ordered, facts, policy, now_ms)
    return Verdict(Availability.OWNER_USED, reasons) if reasons else Verdict(Availability.IDLE)


def _why_busy(sample: Sample, facts: CardFacts, policy: IdlePolicy) -> tuple[str, ...]:
    reasons = []
    if sample.owner_processes:
        reasons.append("owner_process")
    if sample.memory_used_mib is None:
        reasons.append("memory_unknown")
    elif sample.memory_used_mib > _memory_limit(sample, facts, policy):
        reasons.append("memory_in_use")
    if sample.owner_processes is None and sample.utilisation_percent is None:
        reasons.append("nothing_proves_idleness")
    return tuple(reasons)


def _memory_limit(sample: Sample, facts: CardFacts, policy: IdlePolicy) -> float:
    """Near the baseline; one percent of the memory is allowed too, but not to a process that can't be seen."""
    near = (facts.baseline_mib or 0) + policy.memory_slack_mib
    if sample.owner_processes is None:
        return near
    return max(near, facts.memory_total_mib * policy.memory_slack_percent / 100)


def _is_ghost(ordered: Sequence[Sample], facts: CardFacts, policy: IdlePolicy) -> bool:
    """Load without a process and without memory, for long enough."""
    since = ordered[-1].observed_ms - policy.ghost_after_ms
    recent = [sample for sample in ordered if sample.observed_ms >= since]
    loaded = all((sample.utilisation_percent or 0) > policy.ghost_utilisation_percent for sample in recent)
    covered = ordered[0].observed_ms <= since
    return loaded and covered and not any(_why_busy(sample, facts, policy) for sample in recent)


def _why_not_idle(ordered: Sequence[Sample], facts: CardFacts, policy: IdlePolicy, now_ms: int) -> tuple[str, ...]:
    since = now_ms - policy.idle_after_ms
    if facts.free_since_ms is not None:
        since = max(since, facts.free_since_ms)
    window = [sample for sample in ordered if sample.observed_ms >= since]
    if not _is_covered(window, since, now_ms, policy):
        return ("not_watched_long_enough",)
    if any(sample.health & UNUSABLE for sample in window):
        return ("not_healthy_long_enough",)
    if any(_why_busy(sample, facts, policy) for sample in window):
        return ("not_idle_long_enough",)
    loads = [sample.utilisation_percent for sample in window if sample.utilisation_percent is not None]
    if loads and _p95(loads) > policy.utilisation_p95_percent_max:
        return ("utilisation",)
    return ()


def _is_covered(window: Sequence[Sample], since_ms: int, now_ms: int, policy: IdlePolicy) -> bool:
    if not window:
        return False
    times = [since_ms, *(sample.observed_ms for sample in window), now_ms]
    expected = (now_ms - since_ms) // policy.heartbeat_ms
    enough = len(window) * 100 >= expected * policy.coverage_percent_min
    return enough and all(later - earlier <= policy.gap_max_ms for earlier, later in pairwise(times))


def _p95(values: Sequence[float]) -> float:
    """The nearest-rank 95th percentile."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]
