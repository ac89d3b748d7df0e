"""What the runner asks of the part that runs buyers' workloads, and the only thing it knows about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nodes.agent.config import Config
from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, LeaseStatus, LogTail

# MiB in use on a card by its UUID as of the last sample; None when the card or its reading is unknown.
MemoryUsed = Callable[[str], int | None]


class Workloads(Protocol):
    """Leases on this host. Every method may be called from the runner's thread at any time and returns at once.

    A command has been verified and fenced before it comes here. Acks leave `run`, `seq` and `mono_ms` at 0: the
    runner stamps them. Owner hooks (`nodes.agent.hooks.run_hooks`) are run by the implementation, in its threads.
    """

    @property
    def runtime(self) -> str:
        """As in Inventory.runtime: "none" while there is a problem."""

    @property
    def problem(self) -> str | None:
        """Why no lease can be started here, with what to do; it may be put right while the agent runs."""

    @property
    def ready(self) -> bool:
        """Whether it is known what runs here; until then commands wait for their next repeat."""

    def apply(self, command: AssignmentCommand) -> None:
        """Start towards what the command wants; repeated with every reply, so it is idempotent.

        A stop of a lease that is not there acks STOPPED again.
        """

    def stop(self, lease: str, reason: FailureReason) -> None:
        """End a lease on the host's own account (ttl, owner's wish), with its grace and the reason in the ack."""

    def stop_all(self, reason: FailureReason) -> None:
        """`stop` every lease."""

    def statuses(self) -> list[LeaseStatus]:
        """Leases that hold cards now."""

    def drain_acks(self) -> list[Ack]:
        """Acks since the last call, oldest first; the caller now owns their delivery."""

    def drain_logs(self) -> list[LogTail]:
        """What workloads wrote last, of those where it changed since the last call."""

    def is_lease_pid(self, pid: int) -> bool:
        """Whether a process of the host belongs to a lease; called for each process on a card, so it is cheap."""

    def recover(self) -> None:
        """Rebuild from the engine's labels what runs; called once, before anything else."""


class OpenWorkloads(Protocol):
    """The shape of `nodes.agent.workloads.open_workloads`.

    `on_change` may be called from any thread when a phase changes or an ack waits; the runner then reports at once.
    """

    def __call__(
        self,
        config: Config,
        on_change: Callable[[], None],
        *,
        memory_used_mib: MemoryUsed | None = None,
        card_count: Callable[[], int] = ...,
    ) -> Workloads: ...
