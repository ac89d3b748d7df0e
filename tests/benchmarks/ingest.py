"""Reports per CPU-second of the ingest beside a textbook DRF + ORM ingest, in one run; the goal is 30 times as many.

    python -m tests.benchmarks.ingest [--seconds 6] [--rounds 2]

CPU is that of the server process and of every PostgreSQL process; the client's is not counted. Every report is of
eight cards and acknowledged after a commit that reached the disk. PostgreSQL is started for this alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from marketplace.demo.postgres import RUNTIME
from nodes.agent import protocol
from nodes.agent.protocol import CARD_FIELDS, Report, ReportBatch
from tests.nodes.ingest.database import Database, insert_nodes, own_database
from tests.nodes.ingest.process import ROOT, Ingest, running_ingest, until

NODES = 300
CARDS = [[93.0, 41.0, 20480.0, 66.0, 311.5, 2520.0, 1.0, 0.0, 0.0, 0.0]] * 8
SEQ = 1_000_000_000  # of a fixed width, so that a body is made by writing ten digits into it
TICKS = os.sysconf("SC_CLK_TCK")
GOAL = 30
TEXTBOOK_TABLE = f"""
CREATE TABLE textbook_sample (
    id bigserial PRIMARY KEY, node_id bigint NOT NULL, run bigint NOT NULL, seq bigint NOT NULL, place int NOT NULL,
    received_at timestamptz NOT NULL, {", ".join(f"{name} float8" for name in CARD_FIELDS)}
);
CREATE INDEX ON textbook_sample (node_id, received_at);
GRANT ALL ON textbook_sample, textbook_sample_id_seq TO {RUNTIME};
"""


@dataclass
class Rate:
    """What a run did."""

    name: str
    reports: int = 0
    wall: float = 0.0
    app_cpu: float = 0.0
    database_cpu: float = 0.0

    @property
    def per_cpu_second(self) -> float:
        return self.reports / (self.app_cpu + self.database_cpu)

    def __str__(self) -> str:
        app, database = (1e6 * cpu / self.reports for cpu in (self.app_cpu, self.database_cpu))
        return (
            f"{self.name:32} {self.reports / self.wall:8.0f}/s {self.per_cpu_second:8.0f} per CPU-second"
            f"   (app {app:.0f} us + PostgreSQL {database:.0f} us a report)"
        )


class Load:
    """Keep-alive connections that each send the next report when the last is acknowledged."""

    def __init__(self, port: int, path: str, bearers: list[str], body: bytes, per_post: int) -> None:
        self.port, self.bearers, self.per_post = port, bearers, per_post
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
        head = "".join(f"{line}\r\n" for line in [*lines, f"Content-Length: {len(body)}"])
        self.head, self.body = head.encode() + b"Authorization: Bearer ", body
        self.seq, self.acknowledged = SEQ, 0

    def run(self, seconds: float, connections: int) -> int:
        """How many reports were acknowledged."""
        self.acknowledged = 0
        self.until = time.monotonic() + seconds
        asyncio.run(self._run(connections))
        return self.acknowledged

    async def _run(self, connections: int) -> None:
        await asyncio.gather(*(self._client(number, connections) for number in range(connections)))

    async def _client(self, first: int, step: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        number = first
        while time.monotonic() < self.until:
            writer.write(self._request(self.bearers[number % len(self.bearers)]))
            number += step
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 202 " in head[:20], head
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            self.acknowledged += self.per_post
        writer.close()

    def _request(self, bearer: str) -> bytes:
        body = self.body
        parts = body.split(b"%d" % SEQ)
        numbered = [parts[0]]
        for part in parts[1:]:
            self.seq += 1
            numbered += [b"%d" % self.seq, part]
        return self.head + bearer.encode() + b"\r\n\r\n" + b"".join(numbered)


def measure(name: str, load: Load, app: int, database: int, seconds: float, connections: int) -> Rate:
    """Warm up, then count."""
    load.run(1, connections)
    app_before, database_before, began = cpu_of(app), cpu_of(database), time.monotonic()
    reports = load.run(seconds, connections)
    wall = time.monotonic() - began
    return Rate(name, reports, wall, cpu_of(app) - app_before, cpu_of(database) - database_before)


def cpu_of(pid: int) -> float:
    """Seconds of a process, of those that it started, and of those of them that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(field) for field in fields[11:15]) / TICKS
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_of(int(child)) for child in children)


def ours(database: Database, bearers: list[str], seconds: float) -> list[Rate]:
    """One report a POST, and twenty."""
    rates = []
    with running_ingest(database.url) as ingest:
        for per_post in (1, 20):
            report = Report(1, SEQ, 0, 5, "b1", "0123456789abcdef", CARDS)
            batch = ReportBatch(0, 5, [report] * per_post)
            load = Load(ingest.port, protocol.REPORTS_PATH, bearers, protocol.encode(batch), per_post)
            name = f"ingest, {per_post} a POST"
            rates.append(measure(name, load, ingest.process.pid, database.server.process.pid, seconds, 256))
    return rates


def textbook(database: Database, bearers: list[str], seconds: float) -> Rate:
    """gunicorn with one worker of four threads."""
    report = {"run": 1, "seq": SEQ, "mono_ms": 5, "inventory": "0123456789abcdef"}
    body = json.dumps(report | {"cards": [dict(zip(CARD_FIELDS, card, strict=True)) for card in CARDS]}).encode()
    port = Ingest(database.url).port
    command = f"-m gunicorn tests.benchmarks.textbook --bind 127.0.0.1:{port} --threads 4 --log-level warning"
    process = subprocess.Popen(
        [sys.executable, *command.split()], cwd=ROOT, env=os.environ | database.environment | {"LOG_LEVEL": "ERROR"}
    )
    try:
        load = Load(port, "/reports", bearers, body, 1)
        until(lambda: _answers(port), 30)
        return measure("textbook DRF + ORM", load, process.pid, database.server.process.pid, seconds, 4)
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        asyncio.run(asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 1))
    except OSError:
        return False
    return True


def main() -> None:
    """Alternate them and print each round and its ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=6)
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, own_database(Path(folder)) as database:
        with psycopg.connect(database.environment["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(TEXTBOOK_TABLE)
        bearers = list(insert_nodes(database.url, NODES))
        for number in range(given.rounds):
            plain = textbook(database, bearers, given.seconds)
            single, batched = ours(database, bearers, given.seconds)
            print(f"round {number + 1}", plain, single, batched, sep="\n  ")
            print(
                f"  ratio: {single.per_cpu_second / plain.per_cpu_second:.0f} x (goal {GOAL}), "
                f"with 20 a POST {batched.per_cpu_second / plain.per_cpu_second:.0f} x"
            )


if __name__ == "__main__":
    main()
