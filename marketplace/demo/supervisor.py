"""Keeps a table of processes running: starts them, starts the crashed ones again, stops them all."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from marketplace.demo.processes import spawn, wait_until

STOP_SECONDS = 7.0
BACK_OFF_SECONDS = (0.5, 30.0)
STEADY_SECONDS = 60.0


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Process:
    """A line of the table; `ready` is asked until it first says yes, `env` is added to the common environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = _always


@dataclass
class _Slot:
    """What is known of a process that should run."""

    process: Process
    running: subprocess.Popen[bytes]
    started_at: float
    crashes: int = 0
    restart_at: float | None = None
    was_ready: bool = False


class Supervisor:
    """Runs processes, each in its own session with its own log; times are those of time.monotonic()."""

    def __init__(self, *, log_dir: Path, environ: Mapping[str, str], say: Callable[[str], None] = print) -> None:
        self._log_dir = log_dir
        self._environ = environ
        self._say = say
        self._slots: list[_Slot] = []

    def start(self, processes: Sequence[Process]) -> None:
        """Starts more processes; call it from the main thread, whose end would end them too."""
        for process in processes:
            self._slots.append(_Slot(process, self._spawn(process), time.monotonic()))

    def tick(self) -> None:
        """Notices what ended and starts again what has waited long enough; call it a few times a second."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.restart_at is None and slot.running.poll() is not None:
                self._note_crash(slot, now)
            elif slot.restart_at is not None and now >= slot.restart_at:
                slot.running, slot.started_at, slot.restart_at = self._spawn(slot.process), now, None

    def waiting_for(self) -> list[str]:
        """Names of the processes that have not been ready yet."""
        for slot in self._slots:
            slot.was_ready = slot.was_ready or (slot.running.poll() is None and slot.process.ready())
        return [slot.process.name for slot in self._slots if not slot.was_ready]

    def stop(self) -> None:
        """Asks all to end at once and kills, after STOP_SECONDS, what is left of them and of their groups."""
        for slot in self._slots:
            if slot.running.poll() is None:
                slot.running.terminate()
        wait_until(lambda: all(slot.running.poll() is not None for slot in self._slots), seconds=STOP_SECONDS)
        for slot in self._slots:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(slot.running.pid, signal.SIGKILL)
            slot.running.wait()
        self._slots.clear()

    def log_of(self, name: str) -> Path:
        """Where a process's output goes."""
        return self._log_dir / f"{name}.log"

    def _spawn(self, process: Process) -> subprocess.Popen[bytes]:
        return spawn(process.argv, log=self.log_of(process.name), env={**self._environ, **process.env})

    def _note_crash(self, slot: _Slot, now: float) -> None:
        if now - slot.started_at > STEADY_SECONDS:
            slot.crashes = 0
        shortest, longest = BACK_OFF_SECONDS
        wait = min(shortest * 2**slot.crashes, longest)
        slot.crashes += 1
        slot.restart_at = now + wait
        name = slot.process.name
        self._say(
            f"{name} ended with status {slot.running.returncode}; "
            f"it starts again in {wait:g} s, its log is {self.log_of(name)}"
        )
