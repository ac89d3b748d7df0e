"""What the leases of one host have in common, apart from the engine that runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nodes.agent.workloads.openssh import Ed25519Key

MemoryUsed = Callable[[str], int | None]  # MiB in use on a card by its UUID
RunHooks = Callable[[str, dict[str, str]], None]  # (event, values); raises RuntimeFailure


def no_hooks(event: str, values: dict[str, str]) -> None:
    """The owner has none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds where nothing else is said. `node_key` is asked for late: enrolment may come after the start."""

    folder: Path  # the agent's state; leases live below it
    node_key: Callable[[], Ed25519Key]
    simulated: bool = False
    memory_used_mib: MemoryUsed | None = None
    run_hooks: RunHooks = no_hooks
    proxy_url: str | None = None  # of a proxy that knows CONNECT, for the way to the relay
    dns: tuple[str, ...] = ("1.1.1.1", "9.9.9.9")  # public ones, because the owner's own resolver is out of reach
    proc_driver: Path = Path("/proc/driver/nvidia")
    card_count: Callable[[], int] = lambda: 0  # cards that the last sample saw, 0 before the first
    sshd_seconds: float = 30.0
    tunnel_seconds: float = 60.0
    baseline_seconds: float = 60.0
    watch_seconds: float = 2.0
    disk_check_seconds: float = 30.0
    firewall_check_seconds: float = 10.0
    log_seconds: float = 10.0
    retry_seconds: float = 5.0
    engine_seconds: float = 300.0  # how long an engine may be silent before a lease that runs is given up
