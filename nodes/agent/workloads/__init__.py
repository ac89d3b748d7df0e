"""Buyers' workloads on a seller's host."""

from __future__ import annotations

from collections.abc import Callable

from nodes.agent.config import Config
from nodes.agent.workloads.api import MemoryUsed, Workloads
from nodes.agent.workloads.none import NoWorkloads


def open_workloads(
    config: Config, on_change: Callable[[], None], *, memory_used_mib: MemoryUsed | None = None
) -> Workloads:
    """The workloads of this host by `config.runtime`."""
    return NoWorkloads(on_change)
