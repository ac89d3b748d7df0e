"""Real PostgreSQL and Redis for every test: `make test` starts both and names them in the environment."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import TransactionTestCase
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from marketplace.common import clock, hints

pytest_plugins = ["tests.telling"]

settings.PLATFORM_COUNTRY = "DE"  # no default; what is without it is tested by name
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ["REDIS_URL"] = settings.REDIS_URL = f"{settings.REDIS_URL.rpartition('/')[0]}/{WORKER}"  # flushed by none
TEST_DATABASE = f"fallow_test_{os.getpid()}"
LONGEST_BROWSED = "test_card_looks.py"
KEPT_TABLES = (
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "catalogue_gpumodel",
    "catalogue_gpualias",
    "nodes_relayport",
)
EMPTY_EVERY_TABLE = """
DO $$
DECLARE guarded text; listed text;
BEGIN
    FOR guarded IN SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.proname = 'fallow_append_only' LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', guarded);
    END LOOP;
    SELECT string_agg(quote_ident(tablename), ', ') INTO listed FROM pg_tables
        WHERE schemaname = 'public' AND NOT tablename = ANY('{kept}');
    EXECUTE 'TRUNCATE ' || listed;
    UPDATE nodes_relayport SET holder = '' WHERE holder <> '';
    FOR guarded IN SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE p.proname = 'fallow_append_only' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', guarded);
    END LOOP;
END $$;
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser comes last: its event loop stays in this thread, and others need one of their own. Of its files the
    longest begins, so that no process ends with it alone."""
    items.sort(key=lambda item: item.path.name != LONGEST_BROWSED)
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


class FileByFile(LoadScopeScheduling):
    """One process runs the tests of a file, and one all that drives the machine's container engine."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/engine" if nodeid.startswith("tests/engine/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileByFile:
    """In the order of collection, which others would change: the browser comes last."""
    config.option.loadscopereorder = False
    return FileByFile(config, log)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """A database of this run's own, made and migrated by the owner and used by the runtime role."""
    owner = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEST_DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {TEST_DATABASE}")
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = TEST_DATABASE
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        call_command("load_catalogue", stdout=io.StringIO())
    yield
    with django_db_blocker.unblock():
        connections.close_all()
    _drop_database(owner)


def _drop_database(owner: str) -> None:
    """An autovacuum of the superuser's can't be forced out by the owner: it is over in a moment."""
    deadline = time.monotonic() + 60
    with psycopg.connect(owner, autocommit=True) as connection:
        while True:
            try:
                connection.execute(f"DROP DATABASE {TEST_DATABASE} WITH (FORCE)")
                return
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _empty_every_table(_: TransactionTestCase) -> None:
    """Tests that commit are cleaned up by the owner: the runtime role may not empty the ledger."""
    kept = "{" + ",".join(KEPT_TABLES) + "}"
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE, autocommit=True) as owner:
        owner.execute(EMPTY_EVERY_TABLE.replace("{kept}", kept))


TransactionTestCase._fixture_teardown = _empty_every_table  # type: ignore[method-assign]


class FrozenClock:
    """The time that every service is told, until a test moves it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> datetime:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        return self.at


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """A clock that stands at noon of a Monday."""
    frozen_clock = FrozenClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    monkeypatch.setattr(clock, "now", frozen_clock.now)
    return frozen_clock


@pytest.fixture(autouse=True)
def _fresh_redis_connection() -> Iterator[None]:
    yield
    hints.connection.cache_clear()
