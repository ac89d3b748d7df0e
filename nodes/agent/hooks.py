"""The owner's hooks: executables that run when a lease starts and ends, for example to pause the owner's own jobs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

LEASE_START = "lease-start"
LEASE_END = "lease-end"


class HookFailed(RuntimeError):
    """A hook returned other than 0, ran too long or could not be run."""


def run_hooks(directory: Path, event: str, values: Mapping[str, str], *, seconds: float) -> None:
    """Run every executable of `directory/<event>.d` in the order of their names; `values` come as FALLOW_… variables.

    Raises HookFailed at the first that fails. A folder that is not there means no hooks.
    """
    for path in _executables(directory / f"{event}.d"):
        _run_one(path, event, values, seconds)


def _executables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and os.access(path, os.X_OK))


def _run_one(path: Path, event: str, values: Mapping[str, str], seconds: float) -> None:
    env = {"PATH": os.environ.get("PATH", os.defpath), "FALLOW_EVENT": event}
    env |= {f"FALLOW_{key.upper()}": value for key, value in values.items()}
    try:
        done = subprocess.run([str(path)], env=env, timeout=seconds, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        raise HookFailed(f"{path.name} ran longer than {seconds:g} s") from None
    except OSError as error:
        raise HookFailed(f"{path.name} could not be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise HookFailed(f"{path.name} returned {done.returncode}: {said}")
