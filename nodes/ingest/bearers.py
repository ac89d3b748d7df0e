"""Which node a bearer belongs to, from memory; nodes that enrolled a moment ago are looked up when they first ask."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime

from nodes.ingest.link import Connection, DatabaseAway, Link

log = logging.getLogger(__name__)

REFRESH_SECONDS = 2.0
UNKNOWN_SECONDS = 2.0
UNKNOWN_MAX = 10_000
ALL = "SELECT bearer_hash, id FROM nodes_node WHERE state <> 'retired'"
SOME = ALL + " AND bearer_hash = ANY(%s)"

# `up_since` starts anew when no ingest process was able to write for a while: silence of that time is not the nodes'.
BEAT = """
INSERT INTO nodes_ingestclock AS u (id, up_since_at, beat_at) VALUES (1, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET beat_at = GREATEST(u.beat_at, excluded.beat_at),
    up_since_at = CASE WHEN excluded.beat_at > u.beat_at + interval '10 seconds'
        THEN excluded.beat_at ELSE u.up_since_at END
"""


class Bearers:
    """SHA-256 of a bearer → the node's primary key."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._nodes: dict[bytes, int] = {}
        self._unknown: dict[bytes, float] = {}
        self._asked: set[bytes] = set()
        self._answer: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether PostgreSQL answered when it was last asked."""
        return self._link.is_up

    async def node_of(self, bearer: bytes) -> int | None:
        """The node's primary key, None for a bearer that is nobody's. Raises DatabaseAway when it can't be known."""
        digest = hashlib.sha256(bearer).digest()
        node = self._nodes.get(digest)
        if node is None and self._unknown.get(digest, 0.0) < time.monotonic():
            node = await self._look_up(digest)
        return node

    async def keep_fresh(self) -> None:
        """Reload everything every few seconds, so that a retired node's bearer stops working."""
        while True:
            try:
                self._nodes = await self._link.run(_load_and_beat)
            except DatabaseAway:
                pass
            except Exception:
                log.exception("the bearers could not be reloaded")
            await asyncio.sleep(REFRESH_SECONDS)

    async def _look_up(self, digest: bytes) -> int | None:
        """However many strangers knock at once, one query at a time answers all of them."""
        self._unknown.pop(digest, None)
        while digest not in self._nodes and digest not in self._unknown:
            self._asked.add(digest)
            if self._answer is None or self._answer.done():
                self._answer = asyncio.create_task(self._ask())
            await asyncio.shield(self._answer)
        return self._nodes.get(digest)

    async def _ask(self) -> None:
        asked, self._asked = self._asked, set()
        found = await self._link.run(lambda connection: _load(connection, list(asked)))
        self._forget_old_unknowns()
        self._nodes.update(found)
        until = time.monotonic() + UNKNOWN_SECONDS
        self._unknown.update(dict.fromkeys(asked - found.keys(), until))

    def _forget_old_unknowns(self) -> None:
        now = time.monotonic()
        living = {digest: until for digest, until in self._unknown.items() if until > now}
        self._unknown = living if len(living) < UNKNOWN_MAX else {}


def _load(connection: Connection, hashes: list[bytes]) -> dict[bytes, int]:
    return dict(connection.execute(SOME, [hashes]).fetchall())


def _load_and_beat(connection: Connection) -> dict[bytes, int]:
    connection.execute(BEAT, {"now": datetime.now(UTC)})
    return dict(connection.execute(ALL).fetchall())
