"""The agent at work: looks at the cards every second, reports every few and at once on a change, obeys the replies."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from nodes.agent.conversation import Conversation
from nodes.agent.gpu import GpuReader, Snapshot
from nodes.agent.host import inventory_of
from nodes.agent.leases import Leases
from nodes.agent.link import boot_ms, wall_ms
from nodes.agent.protocol import FailureReason, Report, inventory_digest
from nodes.agent.spool import Spool
from nodes.agent.state import StateDir

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clock:
    """Milliseconds: the wall's, and since the host's start."""

    wall: Callable[[], int] = wall_ms
    boot: Callable[[], int] = boot_ms


@dataclass(frozen=True, slots=True)
class Parts:
    """What a runner works with. `run` counts the agent's starts, `boot` names the host's."""

    reader: GpuReader
    leases: Leases
    conversation: Conversation
    spool: Spool
    state: StateDir
    run: int
    boot: str


class Runner:
    """One thread that never waits for a workload. `wake` may be called from any other."""

    def __init__(self, parts: Parts, *, clock: Clock | None = None, watch_seconds: float = 1.0) -> None:
        self._parts = parts
        self._clock = clock or Clock()
        self._watch_seconds = watch_seconds
        self._woken = threading.Event()
        self._changed = False
        self._seq = 0
        self._report_at = 0
        self._last = Snapshot()

    @property
    def snapshot(self) -> Snapshot:
        """The cards as they were seen last."""
        return self._last

    def wake(self) -> None:
        """Something changed that the server should hear at once."""
        self._changed = True
        self._woken.set()

    def run_forever(self, stop: threading.Event) -> None:
        """Until `stop` is set; a `wake` after that makes it seen at once. Leases go on without the agent."""
        while not stop.is_set():
            self.run_once()
            if self._last.stale_library:
                log.warning("the driver was replaced: ending, to be started anew with its library")
                return
            self._woken.wait(self._watch_seconds)
            self._woken.clear()

    def run_once(self) -> None:
        """One look at the cards, and a report if one is due or something changed."""
        now = self._clock.boot()
        self._parts.leases.stop_silent(now)
        if self._parts.state.take_stop_now():
            self._parts.leases.stop_all(FailureReason.OWNER_STOPPED)
            self._changed = True
        snapshot = self._parts.reader.read(self._parts.leases.is_lease_pid)
        changed = self._changed or snapshot.differs(self._last)
        self._last = snapshot
        if changed or now >= self._report_at:
            self._changed = False
            self._report(snapshot, now)
            self._report_at = now + self._parts.conversation.interval_ms

    def _report(self, snapshot: Snapshot, now: int) -> None:
        inventory = inventory_of(snapshot, runtime=self._parts.leases.runtime, state=self._parts.state)
        self._seq += 1
        report = Report(
            run=self._parts.run,
            seq=self._seq,
            ts_ms=self._clock.wall(),
            mono_ms=now,
            boot=self._parts.boot,
            inventory=inventory_digest(inventory),
            cards=snapshot.samples,
            leases=self._parts.leases.statuses(),
            dropped=self._parts.spool.dropped,
            draining=self._parts.state.draining,
        )
        self._parts.conversation.tell(report, inventory, now)
        self._keep_status(snapshot)

    def _keep_status(self, snapshot: Snapshot) -> None:
        status: dict[str, object] = {
            "at_ms": self._clock.wall(),
            "problem": self._parts.conversation.problem,
            "runtime": self._parts.leases.runtime,
            "runtime_problem": self._parts.leases.problem,
            "nvml_error": snapshot.error,
            "spooled": len(self._parts.spool),
            "draining": self._parts.state.draining,
            "leases": [{"id": each.id, "phase": each.phase.value} for each in self._parts.leases.statuses()],
            "cards": [
                {"name": card.name, "uuid": card.uuid, "sample": sample}
                for card, sample in zip(snapshot.cards, snapshot.samples, strict=True)
            ],
        }
        try:
            self._parts.state.keep_status(status)
        except OSError as error:
            log.debug("the status can't be written: %s", error)
