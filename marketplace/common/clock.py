"""The one place that asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The time now, aware, in UTC. Services and pure cores take it as an argument."""
    return datetime.now(UTC)
