"""What could not be delivered yet: reports up to a cap of bytes, oldest dropped first; acks never dropped."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nodes.agent.protocol import Ack, Message, ProtocolError, Report, decode, encode

log = logging.getLogger(__name__)

Result = TypeVar("Result")
MEMORY_BYTES_MAX = 1024 * 1024

SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS report (run INTEGER, seq INTEGER, body TEXT NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ack (number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (one INTEGER PRIMARY KEY CHECK (one = 1), reports INTEGER NOT NULL);
INSERT OR IGNORE INTO dropped VALUES (1, 0);
"""


class Spool:
    """A file of SQLite, or memory once the disk is full or broken: that costs reports, never a lease."""

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lost = 0  # with a file that could not be used any more
        try:
            self._db = _opened(path)
        except (sqlite3.Error, OSError) as error:
            self._db = self._memory(error)
        self._bytes = self._do(_sum)

    def add(self, report: Report) -> None:
        """Keep a report; makes room by dropping the oldest."""
        body = encode(report).decode()
        self._do(
            lambda db: db.execute("INSERT OR REPLACE INTO report VALUES (?, ?, ?)", (report.run, report.seq, body))
        )
        self._bytes += len(body)
        while self._bytes > self._bytes_max and self._do(self._drop_oldest):
            pass

    def oldest(self, count: int, bytes_max: int) -> list[Report]:
        """Reports to send next, oldest first, at least one if there is any."""
        query = "SELECT body, run, seq FROM report ORDER BY run, seq LIMIT ?"
        forget = "DELETE FROM report WHERE run = ? AND seq = ?"
        while rows := self._do(lambda db: db.execute(query, (count,)).fetchall()):
            reports: list[Report] = []
            size = 0
            for body, *key in rows:
                report = self._read(Report, body, forget, key)
                size += len(body)
                if reports and size > bytes_max:
                    break
                reports += [report] if report else []
            if reports:
                return reports
        return []

    def remove(self, reports: list[Report]) -> None:
        """They were delivered."""
        keys = [(each.run, each.seq) for each in reports]
        self._do(lambda db: db.executemany("DELETE FROM report WHERE run = ? AND seq = ?", keys))
        self._bytes = self._do(_sum)

    def drop(self, reports: list[Report]) -> None:
        """The server will never take them."""
        self.remove(reports)
        self._do(lambda db: db.execute("UPDATE dropped SET reports = reports + ?", (len(reports),)))

    def __len__(self) -> int:
        return int(self._do(lambda db: db.execute("SELECT count(*) FROM report").fetchone()[0]))

    @property
    def dropped(self) -> int:
        """Reports that were lost since this file was made, and acks that could not be read."""
        return int(self._do(lambda db: db.execute("SELECT reports FROM dropped").fetchone()[0])) + self._lost

    def add_acks(self, acks: list[Ack]) -> None:
        """Keep acks until the server has answered.

        A later ack of the same assignment and phase replaces the earlier: a stop is acked anew with every reply.
        """
        rows = [(f"{each.assignment} {each.phase.value}", encode(each).decode()) for each in acks]
        self._do(lambda db: db.executemany("INSERT OR REPLACE INTO ack (topic, body) VALUES (?, ?)", rows))

    def acks(self, count: int) -> tuple[list[Ack], int]:
        """The oldest acks, and the mark with which `remove_acks` forgets them."""
        query = "SELECT body, number FROM ack ORDER BY number LIMIT ?"
        forget = "DELETE FROM ack WHERE number = ?"
        while rows := self._do(lambda db: db.execute(query, (count,)).fetchall()):
            read = [self._read(Ack, body, forget, [number]) for body, number in rows]
            if acks := [each for each in read if each is not None]:
                return acks, rows[-1][1]
        return [], 0

    def remove_acks(self, mark: int) -> None:
        """They were answered."""
        self._do(lambda db: db.execute("DELETE FROM ack WHERE number <= ?", (mark,)))

    def close(self) -> None:
        self._db.close()

    def _read(self, kind: type[Message], body: str, forget: str, key: list[int]) -> Message | None:
        """What a row says. One that can't be read, of a damaged disk or a newer agent, is forgotten and counted."""
        try:
            return decode(kind, body)
        except (ProtocolError, TypeError) as error:
            log.error("a spooled %s is given up: %s", kind.__name__, error)
        self._do(lambda db: db.execute(forget, key))
        self._do(lambda db: db.execute("UPDATE dropped SET reports = reports + 1"))
        self._bytes = self._do(_sum)
        return None

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do it in a transaction; if the disk fails, once more in memory."""
        try:
            with self._db:
                return work(self._db)
        except sqlite3.Error as error:
            acks = _readable_acks(self._db)
            self._lost += self._known_dropped()
            self._db.close()
            self._db = self._memory(error)
            self._bytes = 0
            with self._db:
                self._db.executemany("INSERT INTO ack (topic, body) VALUES (?, ?)", acks)
            with self._db:
                return work(self._db)

    def _memory(self, error: Exception) -> sqlite3.Connection:
        log.error("the spool is kept in memory until the next start: %s", error)
        self._bytes_max = min(self._bytes_max, MEMORY_BYTES_MAX)
        return _connect(":memory:")

    def _known_dropped(self) -> int:
        try:
            return int(self._db.execute("SELECT reports FROM dropped").fetchone()[0])
        except sqlite3.Error:
            return 0

    def _drop_oldest(self, db: sqlite3.Connection) -> bool:
        row = db.execute("SELECT run, seq, length(body) FROM report ORDER BY run, seq LIMIT 1").fetchone()
        if row is None:
            return False
        db.execute("DELETE FROM report WHERE run = ? AND seq = ?", row[:2])
        db.execute("UPDATE dropped SET reports = reports + 1")
        self._bytes -= row[2]
        return True


def _sum(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(sum(length(body)), 0) FROM report").fetchone()[0])


def _readable_acks(db: sqlite3.Connection) -> list[tuple[str, str]]:
    try:
        return db.execute("SELECT topic, body FROM ack ORDER BY number").fetchall()
    except sqlite3.Error:
        return []


def _opened(path: Path) -> sqlite3.Connection:
    """The database; one that is damaged is set aside for the owner and a fresh one begun.

    A disk that is full or can't be written damages nothing: OperationalError is passed on.
    """
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.warning("%s is damaged (%s): set aside", path, error)
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(part.with_name(f"{path.name}.damaged{suffix}"))
        return _connect(path)


def _connect(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        db.executescript(SCHEMA)
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except sqlite3.Error:
        db.close()
        raise
    return db
