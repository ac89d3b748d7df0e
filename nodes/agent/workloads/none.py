"""For hosts that have no runtime: cards are reported, every start is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable

from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, LeaseStatus, LogTail, Phase

NO_ENGINE = "no container engine: install Docker or Podman, or start its service"


class NoWorkloads:
    """Refuses to run, agrees to stop."""

    runtime = "none"
    ready = True

    def __init__(self, on_change: Callable[[], None], problem: str = NO_ENGINE) -> None:
        self.problem: str | None = problem
        self._on_change = on_change
        self._acks: list[Ack] = []

    def apply(self, command: AssignmentCommand) -> None:
        starting = command.wanted == "run"
        self._acks.append(
            Ack(
                assignment=command.assignment,
                lease=command.lease,
                epochs=command.epochs,
                phase=Phase.FAILED if starting else Phase.STOPPED,
                run=0,
                seq=0,
                mono_ms=0,
                reason=FailureReason.ENGINE_UNAVAILABLE if starting else None,
                detail="this host has no container engine" if starting else None,
            )
        )
        self._on_change()

    def stop(self, lease: str, reason: FailureReason) -> None:
        """Nothing runs here."""

    def stop_all(self, reason: FailureReason) -> None:
        """Nothing runs here."""

    def statuses(self) -> list[LeaseStatus]:
        return []

    def drain_acks(self) -> list[Ack]:
        acks, self._acks = self._acks, []
        return acks

    def drain_logs(self) -> list[LogTail]:
        return []

    def is_lease_pid(self, pid: int) -> bool:
        return False

    def recover(self) -> None:
        """Nothing to find."""
