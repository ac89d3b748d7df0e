"""Whether exactly the lease's cards are there, seen from inside: engines may drop a request for GPUs without a word."""

from __future__ import annotations

import re
from pathlib import Path

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import GPUS_VARIABLE, ContainerPlan, Runtime, RuntimeFailure

PROC_DRIVER = Path("/proc/driver/nvidia")

_LOOK = 'for f in /dev/nvidia[0-9]*; do [ -e "$f" ] && echo "$f"; done; nvidia-smi -L 2>/dev/null; exit 0'
_UUID = re.compile(r"UUID: (GPU-[0-9a-fA-F-]+)")
_DEVICE = re.compile(r"^/dev/nvidia(\d+)$", re.MULTILINE)


def verify_gpus(runtime: Runtime, container: str, plan: ContainerPlan, proc_driver: Path = PROC_DRIVER) -> list[str]:
    """The UUIDs seen inside, sorted; raises RuntimeFailure when they are not the lease's."""
    seen = _simulated(runtime, container) if plan.simulated else _real(runtime, container, proc_driver)
    if seen != set(plan.gpus):
        detail = f"wanted {', '.join(plan.gpus)}; inside are {', '.join(sorted(seen)) or 'none'}"
        raise RuntimeFailure(FailureReason.GPU_NOT_VISIBLE, detail)
    return sorted(seen)


def _simulated(runtime: Runtime, container: str) -> set[str]:
    said = runtime.exec(container, ["/bin/sh", "-c", f"echo ${GPUS_VARIABLE}"]).output.strip()
    return set(said.split(",")) - {""}


def _real(runtime: Runtime, container: str, proc_driver: Path) -> set[str]:
    said = runtime.exec(container, ["/bin/sh", "-c", _LOOK]).output
    uuids = set(_UUID.findall(said))
    by_minor = _uuid_by_minor(proc_driver)
    devices = {by_minor.get(minor, f"/dev/nvidia{minor}") for minor in _DEVICE.findall(said)}
    return uuids | devices  # nvidia-smi does not run in every image; a device too many counts even where it does


def _uuid_by_minor(proc_driver: Path) -> dict[str, str]:
    found = {}
    for path in proc_driver.glob("gpus/*/information"):
        facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
        found[facts.get("Device Minor", "")] = facts.get("GPU UUID", "")
    return found
