"""What the owners do with their cards, from recordings: each card follows one recorded container, over and over.

The recordings are those of cluster-trace-v2026-GenAI (Alibaba clusterdata), a reading about once a minute.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from nodes.agent.traces import STEP_SECONDS, Trace, has_process, open_traces
from nodes.availability import Availability, CardFacts, IdlePolicy, Sample, availability
from nodes.services.availability import idle_policy

MEMORY_MIB = 24_576  # the recorded cards hold up to 23 GiB; what they are is not said
HEALTHY = 0
MS = 1000
STEP_MS = int(STEP_SECONDS) * MS


@dataclass(frozen=True, slots=True)
class Owner:
    """One recording: at which seconds its card becomes idle or stops being so, and what its owner made of it."""

    flips: tuple[tuple[int, bool], ...]
    seconds: int
    duty: float

    def is_idle(self, second: int) -> bool:
        """Whether the idle rule lets the card be rented; a recording starts again at its end."""
        return self.flips[bisect.bisect_right(self.flips, (second % self.seconds, True)) - 1][1]

    @property
    def idle_share(self) -> float:
        """Part of the time, between 0 and 1."""
        ends = [second for second, _ in self.flips[1:]] + [self.seconds]
        idle = sum(end - begin for (begin, is_idle), end in zip(self.flips, ends, strict=True) if is_idle)
        return idle / self.seconds


def read_owners(duty: Path, memory: Path) -> list[Owner]:
    """One per container. Raises OSError or ValueError for files that are no recordings."""
    # A recording has a reading a minute where an agent sends one every few seconds.
    policy = replace(idle_policy(), heartbeat_ms=STEP_MS, gap_max_ms=2 * STEP_MS, lost_after_ms=2 * STEP_MS)
    return [owner_of(trace, policy) for trace in open_traces(duty, memory)]


def owner_of(trace: Trace, policy: IdlePolicy) -> Owner:
    """Judge a recording minute by minute as the market judges reports."""
    facts = CardFacts(memory_total_mib=MEMORY_MIB)
    samples = [_sample(*step) for step in zip(trace.seconds, trace.percent, trace.memory_mib, strict=True)]
    back = policy.idle_after_ms // STEP_MS + 2
    judged = []
    for number, newest in enumerate(samples):
        window = samples[max(0, number - back) : number + 1]
        verdict = availability(window, facts, policy, now_ms=newest.observed_ms)
        judged.append((newest.observed_ms // MS, verdict.availability == Availability.IDLE))
    flips = tuple(next(run) for _, run in groupby(judged, key=lambda each: each[1]))
    return Owner(flips, int(trace.seconds[-1] + STEP_SECONDS), sum(trace.percent) / len(trace.percent) / 100)


def _sample(second: float, percent: int, held_mib: int) -> Sample:
    return Sample(
        observed_ms=int(second) * MS,
        utilisation_percent=percent,
        memory_used_mib=held_mib,
        owner_processes=int(has_process(percent, held_mib)),
        health=HEALTHY,
    )
