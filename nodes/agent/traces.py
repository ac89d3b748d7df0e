"""What cards do over time, for the simulator: recorded columns, or a generator of what idle fleets look like.

The recorded form is that of cluster-trace-v2026-GenAI (Alibaba clusterdata): `timestamp,container,value` per line,
one file of percent and one of bytes. The generator follows its shape: two thirds of the samples are zero, the mean is
about 7 %, and memory is often still held.
"""

from __future__ import annotations

import bisect
import csv
import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

MIB = 1024 * 1024
STEP_SECONDS = 60.0
HELD_MIB_MIN = 600


@dataclass(frozen=True, slots=True)
class Trace:
    """Steps of (percent, MiB held), in seconds since the first; it starts again at its end."""

    seconds: list[float]
    percent: list[int]
    memory_mib: list[int]
    speed: float = 1.0

    def at(self, now: float) -> tuple[int, int]:
        """(percent, MiB) so many seconds after its start."""
        length = self.seconds[-1] + STEP_SECONDS
        step = bisect.bisect_right(self.seconds, max(0.0, now) * self.speed % length) - 1
        return self.percent[step], self.memory_mib[step]


def has_process(percent: int, held_mib: int) -> bool:
    """Whether a process of the owner's is on the card: it works, or it holds more memory than a driver does."""
    return percent > 0 or held_mib >= HELD_MIB_MIN


def open_trace(
    *,
    seed: str,
    duty: str | None = None,
    memory: str | None = None,
    container: int = 0,
    speed: float = 1.0,
) -> Trace:
    """The `container`-th recording of the files `duty` and `memory`, or a generated one when no file is named."""
    if duty is None:
        return generate_trace(seed, speed=speed)
    traces = open_traces(Path(duty), Path(memory) if memory else None, speed=speed)
    return traces[container % len(traces)]


def open_traces(duty: Path, memory: Path | None, *, speed: float = 1.0) -> list[Trace]:
    """Every container's recording, by name. Raises OSError or ValueError for files that are none."""
    percent = _columns(duty)
    if not percent:
        raise ValueError(f"{duty} has no readings")
    held = _columns(memory) if memory else {}
    return [_trace(percent[name], held.get(name, {}), speed) for name in sorted(percent)]


def _trace(percent: dict[int, float], held: dict[int, float], speed: float) -> Trace:
    stamps = sorted(percent)
    kept, memories = 0, []
    for stamp in stamps:
        kept = int(held.get(stamp, kept * MIB) / MIB)
        memories.append(kept)
    return Trace(
        [float(stamp - stamps[0]) for stamp in stamps],
        [max(0, min(100, round(percent[stamp]))) for stamp in stamps],
        memories,
        speed,
    )


def generate_trace(seed: str, *, hours: int = 24, speed: float = 1.0) -> Trace:
    """A day of bursts between long rests; some rests keep their memory."""
    chance = random.Random(seed)  # noqa: S311 - a scene, not a secret
    percent: list[int] = []
    memory: list[int] = []
    while len(percent) < hours * 60:
        held = chance.choice((0, 0, 0, 4000, 12000))
        rest, burst = chance.randint(20, 120), chance.randint(5, 40)
        level = chance.randint(5, 60)
        percent += [0] * rest + [min(100, max(0, int(chance.gauss(level, 8)))) for _ in range(burst)]
        memory += [held or 2] * rest + [held or 6000] * burst
    steps = hours * 60
    return Trace([STEP_SECONDS * n for n in range(steps)], percent[:steps], memory[:steps], speed)


def _columns(path: Path) -> dict[str, dict[int, float]]:
    """Container → time → value."""
    found: dict[str, dict[int, float]] = {}
    with _open(path) as lines:
        for stamp, name, value in _rows(lines):
            found.setdefault(name, {})[int(float(stamp))] = float(value)
    return found


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="")


def _rows(lines: TextIO) -> Iterator[tuple[str, str, str]]:
    for row in csv.reader(lines):
        if len(row) == 3 and row[0] != "timestamp":
            yield row[0], row[1], row[2]
