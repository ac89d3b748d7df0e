"""Whose processes are on a card: a lease's, the owner's, or those that the owner said do not count."""

from __future__ import annotations

import os
import pwd

from nodes.agent.gpu import IsLeasePid
from nodes.agent.nvml_calls import Signal, attempt

# A desktop's own drawing stays below; a game or a renderer does not.
GRAPHICS_MIB_MIN = 256
MIB = 1024 * 1024


class OwnerProcesses:
    """Counts the processes on a card."""

    def __init__(self, ignored_owners: frozenset[str]) -> None:
        self._ignored = frozenset(_uid(name) for name in ignored_owners)

    def count(self, handle: object, is_lease_pid: IsLeasePid, codes: set[int]) -> tuple[int | None, int | None]:
        """Processes of the owner and of leases; (None, None) when the card does not list its processes."""
        pids = pids_on(handle, codes)
        if pids is None:
            return None, None
        lease = {pid for pid in pids if is_lease_pid(pid)}
        owner = {pid for pid in pids - lease if not self._is_ignored(pid)}
        return len(owner), len(lease)

    def _is_ignored(self, pid: int) -> bool:
        if not self._ignored:
            return False
        try:
            return os.stat(f"/proc/{pid}").st_uid in self._ignored
        except OSError:
            return False  # it ended, or is in another PID namespace: then it counts


def pids_on(handle: object, codes: set[int] | None = None) -> set[int] | None:
    """The processes that compute on a card or draw much; None when the card does not list them."""
    compute = attempt(Signal("nvmlDeviceGetComputeRunningProcesses", handle), codes)
    if compute is None:
        return None
    mps = attempt(Signal("nvmlDeviceGetMPSComputeRunningProcesses", handle), codes) or []
    graphics = attempt(Signal("nvmlDeviceGetGraphicsRunningProcesses", handle), codes) or []
    large = [each for each in graphics if (each.usedGpuMemory or 0) >= GRAPHICS_MIB_MIN * MIB]
    return {each.pid for each in [*compute, *mps, *large]}


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None
