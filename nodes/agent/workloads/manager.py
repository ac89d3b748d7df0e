"""All leases of a host: what the runner calls. Work is done on the leases' threads, calls return at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, LeaseStatus, LogTail, Phase
from nodes.agent.workloads.host import Host
from nodes.agent.workloads.lease import LeaseRun
from nodes.agent.workloads.needs import what_is_missing
from nodes.agent.workloads.runtime import Container, Runtime, RuntimeFailure
from nodes.agent.workloads.settings import Settings
from nodes.agent.workloads.store import LeaseStore, Record, boot_id

log = logging.getLogger(__name__)

RUN = "run"
ACKS_KEPT = 10_000
MAKE_ROOM_SECONDS = 120


class LeaseManager:
    """Implements `nodes.agent.workloads.api.Workloads`."""

    def __init__(self, runtime: Runtime, settings: Settings, on_change: Callable[[], None]) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._store = LeaseStore(settings.folder / "leases")
        self._host = Host(runtime, settings, self._store, self._emit, self._keep_log, self._make_room)
        self._lock = threading.RLock()
        self._runs: dict[str, LeaseRun] = {}
        self._ended: dict[str, Ack] = {}
        self._acks: list[Ack] = []
        self._logs: dict[str, LogTail] = {}
        self._stop_reason: FailureReason | None = None
        self.ready = True

    @property
    def runtime(self) -> str:
        return "none" if self.problem else self._runtime.name

    @property
    def problem(self) -> str | None:
        return what_is_missing(self._runtime.name) if self.ready else "the engine can't be asked what runs"

    def apply(self, command: AssignmentCommand) -> None:
        """Start towards what the command wants; repeated with every reply."""
        with self._lock:
            self._sweep()
            if not self.ready:
                return
            if command.wanted == RUN:
                self._apply_run(command)
            else:
                self._apply_stop(command)

    def stop(self, lease: str, reason: FailureReason) -> None:
        """End a lease on the host's own account."""
        with self._lock:
            if run := self._runs.get(lease):
                run.stop(reason)

    def stop_all(self, reason: FailureReason) -> None:
        """End every lease on the host's own account."""
        with self._lock:
            self._stop_reason = None if self.ready else reason
            for run in self._runs.values():
                run.stop(reason)

    def statuses(self) -> list[LeaseStatus]:
        """Leases that hold cards now."""
        with self._lock:
            self._sweep()
            return [
                LeaseStatus(lease, max(run.command.epochs.values(), default=0), run.phase)
                for lease, run in sorted(self._runs.items())
            ]

    def drain_acks(self) -> list[Ack]:
        """Acks since the last call, oldest first."""
        with self._lock:
            acks, self._acks = self._acks, []
            return acks

    def drain_logs(self) -> list[LogTail]:
        """What workloads wrote last, of those where it changed since the last call."""
        with self._lock:
            logs, self._logs = self._logs, {}
            return list(logs.values())

    def is_lease_pid(self, pid: int) -> bool:
        """Whether a process of the host belongs to a lease."""
        with self._lock:
            containers = [run.record.container for run in self._runs.values() if run.record.container]
        return bool(containers) and self._runtime.owns_pid(pid, containers)

    def recover(self) -> None:
        """Rebuild what runs from records and labels; what was half started begins again.

        Nothing is begun or ended while the engine can't be asked: that is tried again until it answers.
        """
        self.ready = self._try_to_recover()
        if not self.ready:
            threading.Thread(target=self._keep_trying, name="recovery", daemon=True).start()

    def _keep_trying(self) -> None:
        while not self._try_to_recover():
            time.sleep(self._host.settings.retry_seconds)
        with self._lock:
            self.ready = True
            if self._stop_reason is not None:
                self.stop_all(self._stop_reason)
        self._on_change()

    def _try_to_recover(self) -> bool:
        try:
            found = {each.lease: each for each in self._runtime.list()}
        except RuntimeFailure as failure:
            log.warning("the engine can't be asked what runs: %s", failure.detail)
            return False
        with self._lock:
            for record in self._store.load():
                self._recover(record, found.pop(record.command.lease, None))
            for container in found.values():
                self._adopt(_record_of(container), container)
        return True

    def _apply_run(self, command: AssignmentCommand) -> None:
        run = self._runs.get(command.lease)
        if run is not None and run.command.assignment == command.assignment:
            run.offer_relays(command)
        elif run is not None:
            run.stop()  # an earlier assignment of the same lease: this one starts when that is gone
        elif (ended := self._ended.get(command.lease)) and _same(ended, command):
            self._repeat(ended)
        else:
            self._begin(LeaseRun(self._host, Record(command, Phase.PULLING, boot_id())))

    def _apply_stop(self, command: AssignmentCommand) -> None:
        if run := self._runs.get(command.lease):
            run.stop(grace_seconds=command.stop_grace_seconds)
        elif (ended := self._ended.get(command.lease)) and _same(ended, command):
            self._repeat(ended)
        else:
            self._end_unknown(command)

    def _end_unknown(self, command: AssignmentCommand) -> None:
        """Nothing is known of it here, but the engine may have its container: it is acked when that is gone."""
        record = Record(command, Phase.STOPPING, boot_id())
        run = LeaseRun(self._host, record, adopted=_gone(record))
        run.stop()
        self._begin(run)

    def _begin(self, run: LeaseRun) -> None:
        self._runs[run.command.lease] = run
        self._ended.pop(run.command.lease, None)
        run.start()

    def _sweep(self) -> None:
        for lease in [lease for lease, run in self._runs.items() if not run.alive]:
            run = self._runs.pop(lease)
            if run.record.final is not None:
                self._ended[lease] = run.record.final

    def _emit(self, ack: Ack) -> None:
        with self._lock:
            self._acks.append(ack)
            del self._acks[:-ACKS_KEPT]
        self._on_change()

    def _keep_log(self, tail: LogTail) -> None:
        with self._lock:
            self._logs[tail.assignment] = tail

    def _repeat(self, ack: Ack) -> None:
        # Without on_change: the answer to a report that was sent for it would bring the same command again.
        if ack not in self._acks:
            self._acks.append(ack)

    def _make_room(self, command: AssignmentCommand) -> None:
        """Whatever has an older epoch on these cards ends first; a newer or equal one of another lease wins."""
        deadline = time.monotonic() + MAKE_ROOM_SECONDS
        for container in self._runtime.list():
            shared = set(container.epochs) & set(command.epochs)
            if container.lease == command.lease or not shared:
                continue
            if any(container.epochs[uuid] >= command.epochs[uuid] for uuid in shared):
                detail = f"lease {container.lease} has these cards with a newer epoch"
                raise RuntimeFailure(FailureReason.STALE_EPOCH, detail)
            self._end(container, max(1.0, deadline - time.monotonic()))

    def _end(self, container: Container, seconds: float) -> None:
        with self._lock:
            run = self._runs.get(container.lease)
        if run is None:
            self._runtime.stop(container.id, 0)
            self._runtime.remove(container.id, container.lease)
            return
        run.stop(FailureReason.STALE_EPOCH)
        if not run.join(seconds):
            raise RuntimeFailure(FailureReason.GPU_BUSY, f"lease {container.lease} does not end")

    def _recover(self, record: Record, container: Container | None) -> None:
        if record.final is not None:
            self._ended[record.command.lease] = record.final
            if container is not None:
                self._finish(record, container)
        elif record.phase is Phase.RUNNING and container is not None and _may_go_on(record, container):
            self._adopt(record, container)
        elif record.phase in (Phase.PULLING, Phase.STARTING):
            self._begin(LeaseRun(self._host, Record(record.command, Phase.PULLING, boot_id(), "", record.baseline)))
        else:
            self._finish(record, container)

    def _adopt(self, record: Record, container: Container) -> None:
        record.container = container.id
        self._begin(LeaseRun(self._host, record, adopted=container))

    def _finish(self, record: Record, container: Container | None) -> None:
        """It was stopping, or ran and is gone: take down what is left, on the host's account after a reboot."""
        record.container = container.id if container else record.container
        was_running = record.phase is Phase.RUNNING
        adopted = container or _gone(record)
        run = LeaseRun(self._host, record, adopted=adopted)
        if not was_running or record.boot != boot_id():
            run.stop(FailureReason.INTERNAL if was_running else None)
        self._begin(run)


def _same(ended: Ack, command: AssignmentCommand) -> bool:
    """A stop has higher epochs than the run that it ends, so these tell nothing."""
    return ended.assignment == command.assignment


def _record_of(container: Container) -> Record:
    command = AssignmentCommand(
        assignment=container.assignment,
        lease=container.lease,
        node="",
        wanted=RUN,
        epochs=container.epochs,
        ttl_seconds=0,
        stop_grace_seconds=10,
    )
    return Record(command, Phase.RUNNING, boot_id(), container.id)


def _may_go_on(record: Record, container: Container) -> bool:
    """Not what a restart of the host ended: that is no end of the buyer's."""
    return container.running or record.boot == boot_id()


def _gone(record: Record) -> Container:
    command = record.command
    return Container(record.container, command.lease, command.assignment, dict(command.epochs), "", running=False)
