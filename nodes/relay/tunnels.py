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
    """Looks up the tunnel of a lease now; asked at login and again while the tunnel stands."""

    async def find(self, user: str) -> Tunnel | None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What one lease and the whole relay may take; seconds where nothing else is said."""

    connections_per_lease: int = 64
    logins_pending: int = 256
    tunnels: int = 10_000
    idle_seconds: float = 3600.0
    login_seconds: float = 20.0
    keepalive_seconds: float = 15.0
    keepalive_misses: int = 3
    recheck_seconds: float = 30.0
    chunk_bytes: int = 64 * 1024
