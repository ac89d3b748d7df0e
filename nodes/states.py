"""States of nodes, cards and assignments; the tables are the only moves there are."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class NodeState(models.TextChoices):
    """PENDING until the first report, LOST when reports stop, QUARANTINED until an operator decides."""

    PENDING = "pending", "Pending"
    ONLINE = "online", "Online"
    LOST = "lost", "Lost"
    QUARANTINED = "quarantined", "Quarantined"
    RETIRED = "retired", "Retired"


NODE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    NodeState.PENDING: frozenset({NodeState.ONLINE, NodeState.QUARANTINED, NodeState.RETIRED}),
    NodeState.ONLINE: frozenset({NodeState.LOST, NodeState.QUARANTINED, NodeState.RETIRED}),
    NodeState.LOST: frozenset({NodeState.ONLINE, NodeState.QUARANTINED, NodeState.RETIRED}),
    NodeState.QUARANTINED: frozenset({NodeState.PENDING, NodeState.RETIRED}),
    NodeState.RETIRED: frozenset(),
}


# How an identity conflict ends: an operator rules, or the sender's host lets go of what was sent to the newcomer.
KEEP, MOVE, ARRIVED = "keep", "move", "arrived"


class Availability(models.TextChoices):
    """What a card is doing; only `idle` may be offered for a start now. `nodes/availability.py` decides."""

    IDLE = "idle", "Idle"
    LEASED = "leased", "Leased"
    CONTENDED = "contended", "Contended"
    OWNER_USED = "owner_used", "Used by its owner"
    DRAINING = "draining", "Draining"
    UNHEALTHY = "unhealthy", "Unhealthy"
    GHOST = "ghost", "Ghost load"
    LOST = "lost", "Lost"


class ClaimKind(models.TextChoices):
    """Why a card is taken."""

    LEASE = "lease", "Lease"
    PROVING = "proving", "Proving lease"
    SALE = "sale", "Sale"
    RECLAIM = "reclaim", "Owner's reclaim"
    MAINTENANCE = "maintenance", "Maintenance"


WORKED_ON = (ClaimKind.LEASE, ClaimKind.PROVING)  # somebody's container may be on the card


class PassportRole(models.TextChoices):
    """In which part of a deal a card was measured; a lab belongs to neither side."""

    SELLER = "seller", "Seller"
    BUYER = "buyer", "Buyer"
    LAB = "lab", "Lab"


class Wanted(models.TextChoices):
    """What the server wants of an assignment."""

    RUN = "run", "Run"
    STOP = "stop", "Stop"


class Seen(models.TextChoices):
    """What the node has said of it."""

    NONE = "none", "Nothing yet"
    PULLING = "pulling", "Pulling"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    STOPPING = "stopping", "Stopping"
    EXITED = "exited", "Exited"
