"""`manage.py replay`: a recorded cluster's supply and demand through the real services, in a database of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from django.test.utils import override_settings
from psycopg import sql

from marketplace.demo.replay.owners import Owner, read_owners
from marketplace.demo.replay.run import Replay, table, window_end
from marketplace.demo.replay.trace import read_nodes, read_requests
from marketplace.demo.replay.world import World

BAR = 40
# The trace says when a request began and ended, not what happened between: two reports prove all of it.
LIMITS = ("STALE_SECONDS", "LEASE_GRACE_SECONDS", "LEASE_SECONDS_MAX")
PROVEN_BY_TWO_REPORTS = 10**9


class Command(BaseCommand):
    """Needs DATABASE_OWNER_URL, whose role may create the scratch database."""

    help = "Replay a cluster trace and print what the market made of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--nodes", type=Path, required=True)
        parser.add_argument("--requests", type=Path, required=True)
        parser.add_argument("--limit", type=int, default=None, help="only the first so many requests")
        parser.add_argument("--duty", type=Path, help="recorded utilisation of the owners, percent; needs --memory")
        parser.add_argument("--memory", type=Path, help="recorded memory of the owners, bytes")
        parser.add_argument("--json", action="store_true", help="print JSON, and no progress")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            nodes = read_nodes(options["nodes"])
            requests, without_gpu = read_requests(options["requests"], options["limit"])
            owners = _owners(options["duty"], options["memory"])
        except (OSError, KeyError, ValueError) as error:
            raise CommandError(f"the trace can't be read: {error!r}") from error
        show = (lambda _: None) if options["json"] else (lambda done: self._progress(done, len(requests)))
        with ScratchDatabase(), override_settings(**dict.fromkeys(LIMITS, PROVEN_BY_TWO_REPORTS)):
            replay = Replay(World(nodes, ends_at=window_end(requests), owners=owners), requests)
            replay.run(show)
            figures = table(replay, nodes, without_gpu)
        self._print(figures, as_json=options["json"])

    def _progress(self, done: int, total: int) -> None:
        filled = BAR * done // max(total, 1)
        sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total}")
        sys.stderr.flush()

    def _print(self, figures: dict[str, Any], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(figures, indent=1))
            return
        self.stdout.write("")
        for name, value in figures.items():
            self.stdout.write(f"{name:32} {value}")


def _owners(duty: Path | None, memory: Path | None) -> list[Owner]:
    if (duty is None) != (memory is None):
        raise CommandError("--duty and --memory are one recording: name both or neither")
    return read_owners(duty, memory) if duty and memory else []


class ScratchDatabase:
    """A migrated database that is dropped again, so that a replay leaves the market alone."""

    def __init__(self) -> None:
        self.name = f"fallow_replay_{os.getpid()}"
        self.before = {alias: connections[alias].settings_dict["NAME"] for alias in ("default", "owner")}

    def __enter__(self) -> None:
        self._as_owner("CREATE DATABASE {}")
        self._use(dict.fromkeys(self.before, self.name))
        call_command("migrate", verbosity=0)
        call_command("load_catalogue", verbosity=0)

    def __exit__(self, *_: object) -> None:
        self._use(self.before)
        # Without FORCE, which the owner may not use on an autovacuum at work there: PostgreSQL stops that one itself.
        self._as_owner("DROP DATABASE {}")

    def _use(self, names: dict[str, Any]) -> None:
        for alias, name in names.items():
            connections[alias].close()
            connections[alias].settings_dict["NAME"] = name

    def _as_owner(self, statement: LiteralString) -> None:
        server = settings.DATABASES["owner"]
        with psycopg.connect(
            host=str(server["HOST"]),
            port=str(server["PORT"]),
            user=str(server["USER"]),
            password=str(server["PASSWORD"]),
            dbname=str(self.before["owner"]),
            autocommit=True,
        ) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.name)))
