"""Reads a cluster trace: `openb_nodes.csv` and `openb_requests.csv` of Alibaba's clusterdata (cluster-trace-gpu-v2023;
Weng et al., "Beware of Fragmentation", USENIX ATC 2023)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# The trace names models by family and memory. G2 and G3 are made anonymous by its authors.
NAMES = {
    "P100": ("Tesla P100-PCIE-16GB", 16_276),
    "T4": ("Tesla T4", 15_360),
    "A10": ("NVIDIA A10", 23_028),
    "V100M16": ("Tesla V100-SXM2-16GB", 16_160),
    "V100M32": ("Tesla V100-SXM2-32GB", 32_510),
    "G2": ("G2", 32_768),
    "G3": ("G3", 40_960),
}


@dataclass(frozen=True, slots=True)
class TraceNode:
    """A host and its like cards."""

    name: str
    model: str
    cards: int


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Cards for a time, in seconds since the trace began; `milli` is the share of each card that was asked for."""

    name: str
    cards: int
    milli: int
    models: tuple[str, ...]  # empty means any
    start: int
    end: int

    @property
    def seconds(self) -> int:
        """How long it ran, a minute at the least."""
        return max(60, self.end - self.start)


def read_nodes(path: Path) -> list[TraceNode]:
    """The hosts with GPUs."""
    rows = list(_rows(path))
    return [TraceNode(row["sn"], row["model"], int(row["gpu"])) for row in rows if int(row["gpu"])]


def read_requests(path: Path, limit: int | None) -> tuple[list[TraceRequest], int]:
    """The requests for GPUs in the order of their time, at most `limit`; and how many asked for none."""
    rows = list(_rows(path))
    wanted = [row for row in rows if int(row["num_gpu"])]
    requests = sorted((_request(row) for row in wanted), key=lambda each: (each.start, each.name))
    return requests[:limit], len(rows) - len(wanted)


def _request(row: dict[str, str]) -> TraceRequest:
    return TraceRequest(
        name=row["name"],
        cards=int(row["num_gpu"]),
        milli=int(row["gpu_milli"]),
        models=tuple(each for each in row["gpu_spec"].split("|") if each),
        start=int(float(row["creation_time"])),
        end=int(float(row["deletion_time"])),
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf8") as file:
        yield from csv.DictReader(file)
