"""For hosts whose engine does not answer yet: it may start later, and with it leases that ran all along."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, LeaseStatus, LogTail
from nodes.agent.workloads.manager import LeaseManager
from nodes.agent.workloads.none import NoWorkloads
from nodes.agent.workloads.runtime import Runtime

RETRY_SECONDS = 10.0


class LateWorkloads:
    """Looks for the runtime until there is one, then hands over to its leases.

    `expected`: the runtime was named by the owner or had leases before. Then commands wait for it, because what it
    runs is not known; else starts are refused and stops agreed to, as on a host without one.
    """

    def __init__(
        self,
        find: Callable[[], Runtime | None],
        manage: Callable[[Runtime], LeaseManager],
        on_change: Callable[[], None],
        *,
        expected: bool,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._find = find
        self._manage = manage
        self._on_change = on_change
        self._expected = expected
        self._retry_seconds = retry_seconds
        self._none = NoWorkloads(on_change)
        self._manager: LeaseManager | None = None
        self._stop_reason: FailureReason | None = None
        self._lock = threading.Lock()

    @property
    def runtime(self) -> str:
        return self._now.runtime

    @property
    def problem(self) -> str | None:
        return self._now.problem

    @property
    def ready(self) -> bool:
        return self._manager.ready if self._manager else not self._expected

    @property
    def _now(self) -> LeaseManager | NoWorkloads:
        return self._manager or self._none

    def recover(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, name="runtime", daemon=True).start()

    def apply(self, command: AssignmentCommand) -> None:
        if self._manager is not None or not self._expected:
            self._now.apply(command)

    def stop(self, lease: str, reason: FailureReason) -> None:
        self._now.stop(lease, reason)

    def stop_all(self, reason: FailureReason) -> None:
        with self._lock:
            self._stop_reason = reason
            self._now.stop_all(reason)

    def statuses(self) -> list[LeaseStatus]:
        return self._now.statuses()

    def drain_acks(self) -> list[Ack]:
        return self._none.drain_acks() + (self._manager.drain_acks() if self._manager else [])

    def drain_logs(self) -> list[LogTail]:
        return self._now.drain_logs()

    def is_lease_pid(self, pid: int) -> bool:
        return self._now.is_lease_pid(pid)

    def _look(self) -> None:
        pause = threading.Event()
        while (runtime := self._find()) is None:
            pause.wait(self._retry_seconds)
        manager = self._manage(runtime)
        manager.recover()
        with self._lock:
            self._manager = manager
            if self._stop_reason is not None:
                manager.stop_all(self._stop_reason)
        self._on_change()
