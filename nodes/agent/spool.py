"""What could not be delivered yet: reports up to a cap of bytes, oldest dropped first; acks never dropped."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from nodes.agent.protocol import Ack, Report, decode, encode

log = logging.getLogger(__name__)

SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS report (run INTEGER, seq INTEGER, body TEXT NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ack (number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (one INTEGER PRIMARY KEY CHECK (one = 1), reports INTEGER NOT NULL);
INSERT OR IGNORE INTO dropped VALUES (1, 0);
"""


class Spool:
    """A file of SQLite. A disk that is full or broken costs reports, never a lease."""

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._unwritten = 0
        self._memory_acks: list[Ack] = []
        self._db = _opened(path)
        self._bytes = self._sum()

    def add(self, report: Report) -> None:
        """Keep a report; makes room by dropping the oldest."""
        body = encode(report).decode()
        try:
            with self._db:
                self._db.execute("INSERT OR REPLACE INTO report VALUES (?, ?, ?)", (report.run, report.seq, body))
                self._bytes += len(body)
                while self._bytes > self._bytes_max and self._drop_oldest():
                    pass
        except sqlite3.Error as error:
            self._unwritten += 1
            log.warning("a report is lost: %s", error)

    def oldest(self, count: int, bytes_max: int) -> list[Report]:
        """Reports to send next, oldest first, at least one if there is any."""
        rows = self._db.execute("SELECT body FROM report ORDER BY run, seq LIMIT ?", (count,))
        reports: list[Report] = []
        size = 0
        for (body,) in rows:
            size += len(body)
            if reports and size > bytes_max:
                break
            reports.append(decode(Report, body))
        return reports

    def remove(self, reports: list[Report]) -> None:
        """They were delivered."""
        with self._db:
            self._db.executemany("DELETE FROM report WHERE run = ? AND seq = ?", [(r.run, r.seq) for r in reports])
        self._bytes = self._sum()

    def drop(self, reports: list[Report]) -> None:
        """The server will never take them."""
        self.remove(reports)
        with self._db:
            self._db.execute("UPDATE dropped SET reports = reports + ?", (len(reports),))

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM report").fetchone()[0])

    @property
    def dropped(self) -> int:
        """Reports that were lost since this file was made."""
        return int(self._db.execute("SELECT reports FROM dropped").fetchone()[0]) + self._unwritten

    def add_acks(self, acks: list[Ack]) -> None:
        """Keep acks until the server has answered; in memory if the disk does not take them.

        A later ack of the same assignment and phase replaces the earlier: a stop is acked anew with every reply.
        """
        rows = [(f"{each.assignment} {each.phase.value}", encode(each).decode()) for each in acks]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO ack (topic, body) VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            log.warning("acks are kept in memory alone: %s", error)
            self._memory_acks += acks

    def acks(self, count: int) -> tuple[list[Ack], int]:
        """The oldest acks, and the mark with which `remove_acks` forgets them."""
        rows = self._db.execute("SELECT number, body FROM ack ORDER BY number LIMIT ?", (count,)).fetchall()
        acks = [decode(Ack, body) for _, body in rows]
        return acks + self._memory_acks, rows[-1][0] if rows else 0

    def remove_acks(self, mark: int) -> None:
        """They were answered."""
        self._memory_acks = []
        with self._db:
            self._db.execute("DELETE FROM ack WHERE number <= ?", (mark,))

    def close(self) -> None:
        self._db.close()

    def _drop_oldest(self) -> bool:
        row = self._db.execute("SELECT run, seq, length(body) FROM report ORDER BY run, seq LIMIT 1").fetchone()
        if row is None:
            return False
        self._db.execute("DELETE FROM report WHERE run = ? AND seq = ?", row[:2])
        self._db.execute("UPDATE dropped SET reports = reports + 1")
        self._bytes -= row[2]
        return True

    def _sum(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM report").fetchone()[0])


def _opened(path: Path) -> sqlite3.Connection:
    """The database; one that is damaged is set aside for the owner and a fresh one begun."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        log.warning("%s is damaged (%s): set aside", path, error)
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(part.with_name(f"{path.name}.damaged{suffix}"))
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
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
