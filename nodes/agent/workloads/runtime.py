"""What a lease needs of whatever runs it; docker, podman and plain processes are behind this one Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nodes.agent.protocol import FailureReason

LEASE_LABEL = "fallow.lease"
ASSIGNMENT_LABEL = "fallow.assignment"
EPOCH_LABEL = "fallow.epoch"  # JSON of each card's UUID to its epoch
HOST_KEY_LABEL = "fallow.host-key"

# The variable that names a lease's cards inside; on a simulated node it is all there is to see.
GPUS_VARIABLE = "FALLOW_GPUS"


DETAIL_LENGTH_MAX = 500


class RuntimeFailure(Exception):
    """A lease can't be started or has ended; `reason` says on whose account, `detail` is one printable line."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        self.reason = reason
        self.detail = printable(detail)[:DETAIL_LENGTH_MAX]
        super().__init__(self.detail)


def printable(text: str) -> str:
    """One line that any database and page can take: what a container wrote may hold any byte."""
    return "".join(each if each.isprintable() else " " for each in text)


@dataclass(frozen=True, slots=True)
class Access:
    """The buyer's way in, as files on the host: `folder` and `bundle` are mounted read-only."""

    folder: Path
    bundle: Path | None
    authorized_keys: Path
    host_key: str  # the public line


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """One container to be; every limit is hard."""

    lease: str
    assignment: str
    epochs: Mapping[str, int]
    image: str
    access: Access
    cpu_millis: int
    memory_mib: int
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    simulated: bool = False
    shm_mib: int = 1024
    pids: int = 4096
    disk_gib: int = 10
    dns: Sequence[str] = ()

    @property
    def gpus(self) -> list[str]:
        """The cards' UUIDs in a stable order."""
        return sorted(self.epochs)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of ours as the engine sees it now; `address` and `ssh_port` are reachable from the host."""

    id: str
    lease: str
    assignment: str
    epochs: dict[str, int]
    host_key: str
    running: bool
    exit_code: int | None = None
    address: str = ""
    ssh_port: int = 22


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command inside said, both streams together."""

    exit_code: int
    output: str


class Runtime(Protocol):
    """Calls block; each raises RuntimeFailure, and is harmless when repeated."""

    name: str
    ssh_user: str
    forwards_ports: bool  # whether the declared ports of a lease are its own and may be forwarded

    def pull(self, image: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
        """Have the image here and hold it until `let_go`; `on_progress` gets percent and may raise to give up."""

    def let_go(self, image: str | None) -> None:
        """A lease has ended, whose image (None: it is not known) need not be held any more."""

    def create(self, plan: ContainerPlan) -> str:
        """Make network and container, not started; returns the container's id."""

    def start(self, container: str) -> None: ...

    def exec(self, container: str, argv: Sequence[str]) -> ExecResult: ...

    def inspect(self, container: str) -> Container | None: ...

    def list(self) -> list[Container]:
        """Every container that carries our label, running or not."""

    def logs(self, container: str) -> str:
        """The last lines that it wrote; nothing when they can't be had."""

    def disk_used_mib(self, container: str) -> int | None:
        """What a container has written, its volumes included; None when there is no telling."""

    def disk_free_mib(self) -> int | None:
        """Room where containers write; None when there is no telling."""

    def keep_closed(self) -> None:
        """See that what a lease's network must not reach is still closed."""

    def stop(self, container: str, grace_seconds: int) -> None:
        """SIGTERM, the grace, SIGKILL."""

    def remove(self, container: str, lease: str) -> None:
        """Remove container, volumes and network."""

    def owns_pid(self, pid: int, containers: Sequence[str]) -> bool: ...
