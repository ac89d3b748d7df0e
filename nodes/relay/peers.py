"""How many connections stand: of a lease, of a peer's address, and of those that have not said a word yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from marketplace.common.networks import network_of
from nodes.relay.tunnels import Limits


def peer_of(peername: Any) -> str:
    """Who is at the other end, as far as limits go: an IPv4 address, or the network of an IPv6 address."""
    try:
        return network_of(peername[0])
    except (TypeError, IndexError):
        return ""


class Standing:
    """Counts what stands under each key; a key with nothing standing costs nothing."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()

    def add(self, most: Mapping[Hashable, int]) -> bool:
        """Count one more under every key, or nothing when one of them has as many as it may."""
        if any(self._counts[key] >= limit for key, limit in most.items()):
            return False
        self._counts.update(most.keys())
        return True

    def remove(self, key: Hashable) -> None:
        """One less."""
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]


class Place:
    """One buyer's connection among the others of its lease and of its address."""

    def __init__(self, standing: Standing, lease: str, peer: str, limits: Limits) -> None:
        self._standing = standing
        self._mute = ("mute", lease, peer)
        self._most: dict[Hashable, int] = {
            ("lease", lease): limits.connections_per_lease,
            ("peer", peer): limits.connections_per_address,
            ("both", lease, peer): limits.connections_per_lease_and_address,
        }
        self.is_taken = standing.add(self._most)
        # Where the limit is reached a connection is not refused: it reaches the node once it has said something.
        self.may_be_mute = self.is_taken and standing.add({self._mute: limits.mute_per_lease_and_address})

    def speak(self) -> None:
        """It is no longer one of those that said nothing."""
        if self.may_be_mute:
            self._standing.remove(self._mute)
            self.may_be_mute = False

    def leave(self) -> None:
        """Give it back."""
        self.speak()
        if self.is_taken:
            for key in self._most:
                self._standing.remove(key)
            self.is_taken = False
