"""Which lease may open which ports, as the assignments say it."""

from __future__ import annotations

import base64

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from nodes.models import Assignment
from nodes.relay.tunnels import Tunnel
from nodes.selectors import running_assignment

# What stands before the 32 bytes of an Ed25519 key in its SSH form (RFC 8709 §4): two lengths and the name.
SSH_PREFIX = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"


class LeaseTunnels:
    """Tunnels of the leases whose workload is wanted now; the user's name is the lease's id."""

    async def find(self, user: str) -> Tunnel | None:
        """None when no such lease runs; raises django.db.Error while the database is away."""
        return await sync_to_async(_find)(user)


def _find(user: str) -> Tunnel | None:
    close_old_connections()  # the relay serves for weeks, a connection that broke must not be kept
    assignment = running_assignment(user)
    return None if assignment is None else _tunnel(assignment)


def _tunnel(assignment: Assignment) -> Tunnel:
    return Tunnel(public_key=ssh_line(bytes(assignment.node.public_key)), ports=frozenset(assignment.relay_ports))


def ssh_line(public_key: bytes) -> str:
    """`ssh-ed25519 AAAA…` of the 32 bytes of an Ed25519 key."""
    return "ssh-ed25519 " + base64.b64encode(SSH_PREFIX + public_key).decode()
