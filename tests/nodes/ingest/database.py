"""A PostgreSQL of a test's own, because others should not suffer when it is killed or measured."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from marketplace.demo import ground, postgres
from marketplace.demo.postgres import OWNER, RUNTIME, STOP_AT_ONCE, Passwords, Postgres
from marketplace.demo.processes import stop
from tests.nodes.ingest.process import ROOT

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


@contextlib.contextmanager
def own_database(folder: Path) -> Iterator[Database]:
    """Migrated, and gone afterwards."""
    database = Database(ground.prepare(folder), folder / "postgres.log")
    database.start()
    try:
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=os.environ | database.environment, check=True)
        yield database
    finally:
        stop(database.server.process, STOP_AT_ONCE)
        ground.remove(folder)


def insert_nodes(url: str, count: int) -> dict[str, int]:
    """Bearer → primary key of so many nodes."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT id FROM accounts_firm").fetchone() or connection.execute(FIRM).fetchone()
        assert found
        names = [f"node_{random.getrandbits(60):x}" for _ in range(count)]
        return {name: _insert(connection, found[0], name) for name in names}


def _insert(connection: psycopg.Connection, firm: int, name: str) -> int:
    row = connection.execute(NODE, {"name": name, "firm": firm, "hash": hashlib.sha256(name.encode()).digest()})
    return int(row.fetchone()[0])  # type: ignore[index]
