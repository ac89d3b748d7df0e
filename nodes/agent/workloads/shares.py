"""How much of a host's CPUs and memory goes with a lease when its command does not say."""

from __future__ import annotations

import os
from dataclasses import dataclass

MIB = 1024**2
# What stays with the owner and the agent: a tenth, and at least this much.
RESERVED_CPU_MILLIS_MIN = 1000
RESERVED_MEMORY_MIB_MIN = 2048
# A host so small that the reserve leaves nothing still starts a lease, never one without limits.
CPU_MILLIS_MIN = 500
MEMORY_MIB_MIN = 512


@dataclass(frozen=True, slots=True)
class Share:
    """CPU in thousandths of a core, memory in MiB."""

    cpu_millis: int
    memory_mib: int


def host_size() -> Share:
    """All of this host."""
    return Share(1000 * (os.cpu_count() or 1), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB)


def share_of(host: Share, cards: int, cards_of_host: int) -> Share:
    """The part of `host`, less its reserve, that goes with `cards` of its cards."""
    of = max(cards, cards_of_host)
    cpu = host.cpu_millis - max(RESERVED_CPU_MILLIS_MIN, host.cpu_millis // 10)
    memory = host.memory_mib - max(RESERVED_MEMORY_MIB_MIN, host.memory_mib // 10)
    return Share(max(CPU_MILLIS_MIN, cpu * cards // of), max(MEMORY_MIB_MIN, memory * cards // of))
