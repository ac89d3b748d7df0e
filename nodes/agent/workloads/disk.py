"""How full the engine's storage is, as the host's own tools see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.runtime import RuntimeFailure

MIB = 1024**2
DU_SECONDS = 120


def free_mib(folder: Path) -> int | None:
    """MiB free below a folder; None when it can't be seen from here."""
    try:
        return shutil.disk_usage(folder).free // MIB
    except OSError:
        return None


def folder_mib(folder: Path) -> int:
    """MiB that a folder takes on the disk; raises RuntimeFailure."""
    command = ["du", "--summarize", "--block-size=1M", "--one-file-system", "--", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DU_SECONDS, check=False)
        return int(done.stdout.split()[0])  # files that vanish meanwhile make it complain, and count as well
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, f"{folder} can't be measured: {error}") from error
