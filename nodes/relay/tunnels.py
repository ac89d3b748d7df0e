"""What the relay asks of the rest of the server: who may open which ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A lease's right: the key of its node (`ssh-ed25519 …`) and the public ports that the relay opens for it."""

    public_key: str
    ports: frozenset[int]


class Tunnels(Protocol):
    """Looks up the tunnel of a lease now; asked at login, for every port, and again while the tunnel stands."""

    async def find(self, user: str) -> Tunnel | None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one lease, one peer and the whole relay may take; seconds where nothing else is said.

    A container's sshd sees all buyers at one address and serves five that have not logged in, so of those of an address
    that say nothing fewer reach it at once.
    """

    connections_per_lease: int = 64
    connections_per_address: int = 256
    connections_per_lease_and_address: int = 32
    mute_per_lease_and_address: int = 4
    mute_seconds: float = 10.0
    logins_pending: int = 512
    logins_pending_per_address: int = 16
    tunnels: int = 10_000
    idle_seconds: float = 3600.0
    login_seconds: float = 20.0
    keepalive_seconds: float = 15.0
    keepalive_misses: int = 3
    recheck_seconds: float = 30.0
    chunk_bytes: int = 64 * 1024
