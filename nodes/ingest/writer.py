"""Group commit: what arrives while one transaction is on its way to disk goes together into the next one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg

from nodes.agent.protocol import ReportReply, SignedCommand
from nodes.ingest.link import Connection, DatabaseAway, Link
from nodes.ingest.rows import COLUMNS, HEADER, TRAILER, BadBatch, Submission, live

log = logging.getLogger(__name__)

COPY = f"COPY nodes_report ({COLUMNS}) FROM STDIN BINARY"
# Only ever forward on (run, seq); answers with the nodes that moved and where they stood before.
UPSERT = """
INSERT INTO nodes_nodereportstate AS s
    (node_id, run, seq, received_at, inventory_digest, draining, state_version, processed_version)
SELECT node_id, run, seq, received_at, digest, draining, 1, 0 FROM unnest(
    %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], %s::bool[]
) AS given (node_id, run, seq, received_at, digest, draining) ORDER BY node_id
ON CONFLICT (node_id) DO UPDATE SET run = excluded.run, seq = excluded.seq, received_at = excluded.received_at,
    inventory_digest = excluded.inventory_digest, draining = excluded.draining, state_version = s.state_version + 1
WHERE (excluded.run, excluded.seq) > (s.run, s.seq)
RETURNING new.node_id, old.run, old.seq
"""
NODES = "SELECT id, inventory_digest, is_draining FROM nodes_node WHERE id = ANY(%s)"
COMMANDS = """
SELECT node_id, payload, signature FROM nodes_assignment
WHERE node_id = ANY(%s) AND NOT (seen = 'exited' AND wanted = 'stop') ORDER BY id
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Answer = bytes | Exception
Replies = dict[int, bytes]
Places = dict[int, tuple[int, int]]


class QueueFull(Exception):
    """More reports wait than may; the node keeps its own and comes back."""


class GroupCommit:
    """A bounded queue of submissions and the one task that commits them, all that wait in one transaction."""

    def __init__(self, link: Link, *, heartbeat_ms: int, waiting_reports: int, on_commit: Callable[[], None]) -> None:
        self._link = link
        self._heartbeat_ms = heartbeat_ms
        self._waiting_max = waiting_reports
        self._waiting = 0
        self._on_commit = on_commit
        self._group: list[Submission] = []
        self._outcome: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._wake = asyncio.Event()

    async def submit(self, submission: Submission) -> bytes:
        """The reply to the node, after COMMIT. Raises QueueFull, DatabaseAway or BadBatch: then nothing is stored."""
        if self._waiting + len(submission.rows) > self._waiting_max:
            raise QueueFull
        self._waiting += len(submission.rows)
        place = len(self._group)
        self._group.append(submission)
        self._wake.set()
        answer = (await asyncio.shield(self._outcome))[place]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self) -> None:
        """Commit group after group until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._group:
                await self._commit_waiting()

    async def drain(self) -> None:
        """Return when nothing waits."""
        while self._waiting:
            await asyncio.wait([self._outcome], timeout=0.05)

    async def _commit_waiting(self) -> None:
        group, self._group = self._group, []
        outcome, self._outcome = self._outcome, asyncio.get_running_loop().create_future()
        try:
            answers = await self._link.run(lambda connection: commit(connection, group, self._heartbeat_ms))
        except DatabaseAway as error:
            outcome.set_exception(error)
        except Exception as error:
            log.exception("a group of %d could not be committed", len(group))
            outcome.set_exception(DatabaseAway(str(error)))
        else:
            outcome.set_result(answers)
            self._on_commit()
        self._waiting -= sum(len(each.rows) for each in group)
        outcome.exception()  # seen: everybody who waited may have hung up


def commit(connection: Connection, group: Sequence[Submission], heartbeat_ms: int) -> list[Answer]:
    """Write the group in one transaction; the answer to each, in its order, or why nothing of it was stored."""
    try:
        replies = _commit(connection, group, heartbeat_ms)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        if len(group) > 1:
            # One of them is at fault, such as a node that was deleted; the others must not suffer for it.
            return [commit(connection, [each], heartbeat_ms)[0] for each in group]
        log.warning("the reports of node %d are refused: %s", group[0].node_id, error)
        # What PostgreSQL can't read it will never read; a row that is missing may come.
        is_final = isinstance(error, psycopg.DataError)
        return [BadBatch("the reports can't be stored") if is_final else DatabaseAway("the node's rows were refused")]
    return [replies.get(each.node_id, DatabaseAway("the node is gone")) for each in group]


def _commit(connection: Connection, group: Sequence[Submission], heartbeat_ms: int) -> Replies:
    newest: dict[int, Submission] = {}
    for each in sorted(group, key=lambda each: (each.node_id, each.run, each.seq)):
        newest[each.node_id] = each
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(UPSERT, _state_columns(newest.values()))
        moved: Places = {node: (-1 if run is None else run, -1 if seq is None else seq) for node, run, seq in cursor}
        with cursor.copy(COPY) as copy:
            copy.write(b"".join([HEADER, *_rows(group, moved), TRAILER]))
        return _replies(cursor, newest, heartbeat_ms)


def _state_columns(newest: Iterable[Submission]) -> list[list[Any]]:
    columns = [
        (each.node_id, each.run, each.seq, _time(each.received_us), each.inventory, each.draining) for each in newest
    ]
    return [list(column) for column in zip(*columns, strict=True)]


def _rows(group: Iterable[Submission], moved: Places) -> Iterable[bytes]:
    """A report is live only when it is ahead of everything that the node had said before."""
    for each in group:
        before = moved.get(each.node_id)
        is_ahead = before is not None and (each.run, each.seq) > before
        for place, row in enumerate(each.rows):
            yield live(row) if is_ahead and place == each.live else row


def _replies(cursor: psycopg.Cursor[Any], newest: dict[int, Submission], heartbeat_ms: int) -> Replies:
    nodes = list(newest)
    commands: dict[int, list[SignedCommand]] = defaultdict(list)
    for node, payload, signature in cursor.execute(COMMANDS, [nodes]):
        commands[node].append(SignedCommand(payload, signature))
    now_ms = time.time_ns() // 1_000_000
    return {
        node: msgspec.json.encode(
            ReportReply(
                server_ts_ms=now_ms,
                interval_ms=heartbeat_ms,
                inventory_wanted=newest[node].inventory != digest,
                draining=draining,
                commands=commands.get(node, []),
            )
        )
        for node, digest, draining in cursor.execute(NODES, [nodes])
    }


def _time(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)
