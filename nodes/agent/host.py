"""What the inventory says of the host around the cards."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from nodes.agent.gpu import Snapshot
from nodes.agent.protocol import Inventory
from nodes.agent.state import StateDir
from nodes.agent.version import VERSION

MIB = 1024 * 1024
GIB = 1024 * MIB


def inventory_of(snapshot: Snapshot, *, runtime: str, state: StateDir) -> Inventory:
    """The inventory of this host with the cards of a snapshot."""
    return Inventory(
        hostname=state.name or socket.gethostname(),
        agent_version=VERSION,
        runtime=runtime,
        cards=snapshot.cards,
        driver_version=snapshot.driver_version,
        cuda_version=snapshot.cuda_version,
        nvml_error=snapshot.error,
        kernel=os.uname().release,
        cpu_count=os.cpu_count(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB,
        disk_free_gib=_disk_free_gib(state.folder),
    )


def boot_id() -> str:
    """Changes with every start of the host, so that CLOCK_BOOTTIME can be compared within one alone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _disk_free_gib(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free // GIB
    except OSError:
        return None
