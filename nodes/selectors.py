"""Reading nodes and cards."""

from __future__ import annotations

from datetime import datetime

from nodes.models import IngestClock, Node


def last_sign_of_life(node: Node) -> datetime:
    """When the node was last heard, or when we could hear again: our own outage is not a node's silence."""
    heard = node.last_seen_at or node.enrolled_at
    up_since = IngestClock.objects.values_list("up_since_at", flat=True).first()
    return max(heard, up_since) if up_since else heard
