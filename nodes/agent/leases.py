"""The leases of this host as the server wants them: verified, fenced, stopped when the server is silent too long."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from nacl.signing import VerifyKey

from nodes.agent.commands import BadCommand, Fence, StaleCommand, verified
from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, LeaseStatus, LogTail, Phase, SignedCommand
from nodes.agent.state import Heard, StateDir
from nodes.agent.workloads.api import Workloads

log = logging.getLogger(__name__)

# For a lease whose own was not kept: the agent's folder was lost or is full.
TTL_SECONDS_DEFAULT = 600


class Leases:
    """Between the server's commands and `Workloads`. Times are CLOCK_BOOTTIME in milliseconds of the boot `boot`.

    A start of the agent is no word from the server: it goes on counting the silence where the last one was.
    """

    def __init__(
        self, workloads: Workloads, state: StateDir, key: VerifyKey, node: str, *, run: int, boot: str, now: int
    ) -> None:
        self._workloads = workloads
        self._state = state
        self._fence = Fence(state)
        self._key = key
        self._node = node
        self._run = run
        self._seq = 0
        self._boot = boot
        heard = state.heard(boot)
        self._spoke_at = heard.at_ms if heard else now
        # A lease of which no word was kept counts from here, and no start of the agent moves that on.
        self._unnamed_since = self._spoke_at
        self._named_at = heard.leases if heard else {}
        self._ttl_seconds = heard.ttl_seconds if heard else {}
        self._own_acks: list[Ack] = []
        self._refused: set[str] = set()

    @property
    def runtime(self) -> str:
        """As in Inventory.runtime."""
        return self._workloads.runtime

    @property
    def problem(self) -> str | None:
        """Why no lease can be started here."""
        return self._workloads.problem

    def obey(self, commands: Sequence[SignedCommand], now: int) -> None:
        """Act on what a reply wants; a lease's time to live is renewed when a command names it."""
        self._spoke_at = now
        for signed in commands:
            try:
                self._apply(verified(signed, self._key, self._node), now)
            except BadCommand as error:
                log.warning("refused: %s", error)
            except OSError as error:
                log.error("a command waits for its next repeat: %s", error)
        self._keep_heard()

    def stop_silent(self, now: int) -> None:
        """Stop the leases whose time to live has lapsed without a command that names them."""
        for status in self._workloads.statuses():
            silent_ms = now - self._named_at.get(status.id, self._unnamed_since)
            ttl_ms = 1000 * self._ttl_seconds.get(status.id, TTL_SECONDS_DEFAULT)
            if silent_ms > ttl_ms and status.phase != Phase.STOPPING:
                log.warning("lease %s ends: no word from the server for %d s", status.id, silent_ms // 1000)
                self._workloads.stop(status.id, FailureReason.LEASE_TTL_LAPSED)

    def stop_all(self, reason: FailureReason) -> None:
        """End every lease of this host."""
        self._workloads.stop_all(reason)

    def statuses(self) -> list[LeaseStatus]:
        """Leases that hold cards now."""
        return self._workloads.statuses()

    def is_lease_pid(self, pid: int) -> bool:
        """Whether a process belongs to a lease."""
        return self._workloads.is_lease_pid(pid)

    def drain_logs(self) -> list[LogTail]:
        """What workloads wrote last, of those where it changed since the last call."""
        return self._workloads.drain_logs()

    def drain_acks(self, now: int) -> list[Ack]:
        """Acks since the last call, stamped with this run, a rising number and the time."""
        acks = self._workloads.drain_acks() + self._own_acks
        self._own_acks = []
        return [self._stamped(each, now) for each in acks]

    def _apply(self, command: AssignmentCommand, now: int) -> None:
        try:
            ousted = self._fence.pass_through(command)
        except StaleCommand as error:
            self._refuse(command, str(error))
            return
        for lease in ousted & {status.id for status in self._workloads.statuses()}:
            self._workloads.stop(lease, FailureReason.STALE_EPOCH)
        self._ttl_seconds[command.lease] = command.ttl_seconds
        self._named_at[command.lease] = now
        self._workloads.apply(command)

    def _keep_heard(self) -> None:
        held = {status.id for status in self._workloads.statuses()}
        self._ttl_seconds = {lease: ttl for lease, ttl in self._ttl_seconds.items() if lease in held}
        self._named_at = {lease: self._named_at.get(lease, self._unnamed_since) for lease in held}
        try:
            self._state.keep_heard(Heard(self._boot, self._spoke_at, self._ttl_seconds, self._named_at))
        except OSError as error:
            log.warning("when the server last spoke can't be kept: %s", error)

    def _refuse(self, command: AssignmentCommand, detail: str) -> None:
        """Say so once: the server repeats a command with every reply until it has read the ack."""
        log.warning("refused %s: %s", command.assignment, detail)
        if command.assignment in self._refused:
            return
        self._refused.add(command.assignment)
        self._own_acks.append(
            Ack(
                assignment=command.assignment,
                lease=command.lease,
                epochs=command.epochs,
                phase=Phase.FAILED,
                run=0,
                seq=0,
                mono_ms=0,
                reason=FailureReason.STALE_EPOCH,
                detail=detail,
            )
        )

    def _stamped(self, ack: Ack, now: int) -> Ack:
        self._seq += 1
        return dataclasses.replace(ack, run=self._run, seq=self._seq, mono_ms=now)
