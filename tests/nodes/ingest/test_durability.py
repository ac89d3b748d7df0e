"""What was acknowledged is there, whatever was killed: PostgreSQL at once, the ingest without a goodbye."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from marketplace.demo import ground, postgres
from marketplace.demo.postgres import OWNER, RUNTIME, STOP_AT_ONCE, Passwords, Postgres
from marketplace.demo.processes import stop
from tests.nodes.builders import make_batch, make_report
from tests.nodes.ingest.process import ROOT, Ingest, running_ingest, until

FULL = os.environ.get("TRIALS") == "full"
CLIENTS = 48 if FULL else 8
KILLS = 10 if FULL else 2
REPORTS_BETWEEN = 1500 if FULL else 150  # acknowledged between two kills, so that each one hits a busy process
PASSWORDS = Passwords("a1", "b2", "c3")

NODE = """
INSERT INTO nodes_node (public_id, firm_id, name, state, public_key, bearer_hash, region, country, is_draining,
    quarantine_reason, inventory_digest, inventory, runtime, agent_version, enrolled_at)
VALUES (%(name)s, %(firm)s, %(name)s, 'online', %(hash)s, %(hash)s, 'de', 'DE', false, '', '', '{}', 'none', '', now())
RETURNING id
"""
FIRM = """
INSERT INTO accounts_firm (public_id, name, headquarters_country, ultimate_parent, ultimate_parent_country,
    intended_use, created_at) VALUES ('firm_1', 'Firm', 'DE', '', 'DE', 'training', now()) RETURNING id
"""


@dataclass
class Database:
    """A PostgreSQL of this test's own, because others should not suffer when it is killed."""

    place: ground.Ground
    log: Path
    server: Postgres = field(init=False)

    def start(self, port: int | None = None) -> None:
        self.server = postgres.start(self.place, PASSWORDS, log=self.log, preferred_port=port)

    def kill(self) -> None:
        """`pg_ctl stop -m immediate`, and up again on the same port."""
        stop(self.server.process, STOP_AT_ONCE)
        self.start(self.server.port)

    @property
    def url(self) -> str:
        return self.server.url(RUNTIME, PASSWORDS.runtime)

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.url, "DATABASE_OWNER_URL": self.server.url(OWNER, PASSWORDS.owner)}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("durability")
    database = Database(ground.prepare(folder), folder / "postgres.log")
    database.start()
    try:
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=os.environ | database.environment, check=True)
        yield database
    finally:
        stop(database.server.process, STOP_AT_ONCE)
        ground.remove(folder)


class Client(threading.Thread):
    """A node that reports without a pause and remembers what was acknowledged."""

    def __init__(self, ingest: Ingest, bearer: str, run: int) -> None:
        super().__init__(daemon=True)
        self.ingest, self.bearer, self.run_number = ingest, bearer, run
        self.acknowledged: list[int] = []
        self.refused = 0
        self.ended = threading.Event()

    def run(self) -> None:
        seq = 0
        while not self.ended.is_set():
            seq += 1
            try:
                answer = self.ingest.post(self.bearer, make_batch(make_report(run=self.run_number, seq=seq)))
            except (OSError, http.client.HTTPException):
                self.refused += 1
                self.ended.wait(0.05)
                continue
            if answer.status == 202:
                self.acknowledged.append(seq)
            else:
                assert answer.status == 503, answer.body
                self.refused += 1
                self.ended.wait(0.05)


@pytest.fixture
def nodes(database: Database) -> dict[str, int]:
    """Bearer → primary key."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        found = connection.execute("SELECT id FROM accounts_firm").fetchone() or connection.execute(FIRM).fetchone()
        assert found
        names = [f"node_{random.getrandbits(60):x}" for _ in range(CLIENTS)]
        return {name: _insert(connection, found[0], name) for name in names}


def _insert(connection: psycopg.Connection, firm: int, name: str) -> int:
    row = connection.execute(NODE, {"name": name, "firm": firm, "hash": hashlib.sha256(name.encode()).digest()})
    return int(row.fetchone()[0])  # type: ignore[index]


@pytest.mark.trial
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["PostgreSQL, stopped at once", "the ingest, killed"])
def test_no_acknowledged_report_is_lost_when_it_is_killed(database, nodes, victim):
    with running_ingest(database.url) as ingest:
        clients = [Client(ingest, bearer, run=1) for bearer in nodes]
        for client in clients:
            client.start()
        for _ in range(KILLS):
            goal = sum(len(client.acknowledged) for client in clients) + REPORTS_BETWEEN
            until(lambda goal=goal: sum(len(client.acknowledged) for client in clients) >= goal, seconds=120)
            if victim.startswith("PostgreSQL"):
                database.kill()
            else:
                ingest.kill()
                ingest.start()
        goal = sum(len(client.acknowledged) for client in clients) + REPORTS_BETWEEN
        until(lambda: sum(len(client.acknowledged) for client in clients) >= goal, seconds=120)
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(30)
    with psycopg.connect(database.url) as connection:
        stored = set(connection.execute("SELECT node_id, seq FROM nodes_report").fetchall())
        states = dict(connection.execute("SELECT node_id, seq FROM nodes_nodereportstate").fetchall())
    acknowledged = {(nodes[client.bearer], seq) for client in clients for seq in client.acknowledged}
    refused = sum(client.refused for client in clients)
    print(
        f"\n{victim}: {KILLS} times, {CLIENTS} nodes, {len(acknowledged)} reports acknowledged, {refused} refused, "
        f"{len(acknowledged - stored)} lost" + ("" if FULL else " (TRIALS=full kills 10 times under 48 nodes)")
    )
    assert acknowledged <= stored
    assert refused > 0
    assert all(states[nodes[client.bearer]] >= client.acknowledged[-1] for client in clients)


@pytest.mark.trial
def test_while_postgresql_is_away_it_says_so_and_comes_back_by_itself(database, nodes):
    bearer = next(iter(nodes))
    with running_ingest(database.url) as ingest:
        assert ingest.post(bearer, make_batch(make_report(run=2))).status == 202
        port = database.server.port
        stop(database.server.process, STOP_AT_ONCE)
        refusal = ingest.post(bearer, make_batch(make_report(run=2, seq=2)))
        assert (refusal.status, int(refusal.headers["retry-after"]) > 0) == (503, True)
        until(lambda: not ingest.is_healthy())
        database.start(port)
        until(lambda: ingest.post(bearer, make_batch(make_report(run=2, seq=3))).status == 202, seconds=20)
        until(ingest.is_healthy)


@pytest.mark.trial
def test_more_than_may_wait_is_refused_with_a_time_to_come_back(database, nodes):
    bearer = next(iter(nodes))
    with running_ingest(database.url, INGEST_WAITING_REPORTS_MAX="5") as ingest:
        assert ingest.post(bearer, make_batch(*(make_report(run=3, seq=seq) for seq in range(5)))).status == 202
        refusal = ingest.post(bearer, make_batch(*(make_report(run=3, seq=seq) for seq in range(6))))
        assert (refusal.status, refusal.headers["retry-after"]) == (503, "1")
