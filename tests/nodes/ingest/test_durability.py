"""What was acknowledged is there, whatever was killed: PostgreSQL at once, the ingest without a goodbye."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator

import psycopg
import pytest

from marketplace.demo.postgres import STOP_AT_ONCE
from marketplace.demo.processes import stop
from tests.nodes.builders import make_batch, make_report
from tests.nodes.ingest.database import Database, insert_nodes, own_database
from tests.nodes.ingest.process import Ingest, running_ingest, until

FULL = os.environ.get("TRIALS") == "full"
CLIENTS = 48 if FULL else 8
KILLS = 10 if FULL else 2
REPORTS_BETWEEN = 1500 if FULL else 150  # acknowledged between two kills, so that each one hits a busy process


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with own_database(tmp_path_factory.mktemp("durability")) as database:
        yield database


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
    return insert_nodes(database.url, CLIENTS)


@pytest.mark.trial
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["PostgreSQL, stopped at once", "the ingest, killed"])
def test_no_acknowledged_report_is_lost_when_it_is_killed(database, nodes, victim, tell):
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
    tell(
        f"{victim}: {KILLS} times, {CLIENTS} nodes, {len(acknowledged)} reports acknowledged, {refused} refused, "
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
