"""The market's processes on a PostgreSQL and a Redis of their own, which may be killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from django.db import connection

from marketplace.demo import redis_server
from marketplace.demo.postgres import STOP_AT_ONCE
from marketplace.demo.processes import free_port, spawn, stop
from marketplace.settings import database_from
from tests.nodes.ingest.database import Database, own_database
from tests.nodes.ingest.process import ROOT, until

PATIENT = {"STALE_SECONDS": "3600", "LOST_SECONDS": "3600"}  # no agent reports here
ROOMY = {"OPEN_ORDERS_MAX": "1000000"}  # its buyers order without a pause
REDIS_PASSWORD = "d4"  # of a server that lives as long as the test


@dataclass
class Outpost:
    """Web, matcher, worker and beat; each can be killed and comes back."""

    database: Database
    folder: Path
    web_port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Everything; returns when the pages are ready."""
        self.start_redis(None)
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "load_catalogue"], cwd=ROOT, env=self.environment, check=True, capture_output=True)
        for name in self.commands:
            self.start_process(name)
        until(lambda: self.ask("GET", "/readyz")[0] == 200, 60)

    def stop(self) -> None:
        """The processes and Redis; PostgreSQL is its own owner's."""
        for process in self.running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.redis.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What every process is told."""
        return os.environ | self.database.environment | PATIENT | ROOMY | {"REDIS_URL": self.redis.url}

    @property
    def commands(self) -> dict[str, list[str]]:
        """As docs/operations.md has them, with one worker each."""
        gunicorn = f"gunicorn --workers 1 --worker-class gthread --threads 8 --bind 127.0.0.1:{self.web_port}"
        celery = f"celery -A marketplace.celery worker --concurrency 1 --beat --schedule {self.folder}/beat"
        return {
            "web": ["-m", *gunicorn.split(), "marketplace.wsgi:application"],
            "matcher": ["manage.py", "matcher"],
            "worker": ["-m", *celery.split()],
        }

    def start_process(self, name: str) -> None:
        """One of `commands`."""
        argv = [sys.executable, *self.commands[name]]
        log = self.folder / f"{name}.log"
        self.running[name] = spawn(argv, log=log, cwd=ROOT, env=self.environment)

    def kill_process(self, name: str) -> None:
        """SIGKILL to it and its children, and a new one."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()
        self.start_process(name)

    def start_redis(self, port: int | None) -> None:
        """Empty, as after every crash."""
        log = self.folder / "redis.log"
        self.redis = redis_server.start(self.database.place, REDIS_PASSWORD, log=log, preferred_port=port)

    @contextlib.contextmanager
    def without_redis(self) -> Iterator[None]:
        """It is gone for as long as the block runs, and comes back empty."""
        self.redis.stop()
        yield
        self.start_redis(self.redis.port)

    @contextlib.contextmanager
    def without_postgresql(self) -> Iterator[None]:
        """`pg_ctl stop -m immediate`, and crash recovery after the block."""
        stop(self.database.server.process, STOP_AT_ONCE)
        yield
        self.database.start(self.database.server.port)

    def flush_redis(self) -> None:
        """Everything that waits in it is forgotten."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """(status, JSON) of one request; (0, {}) when nobody answered. A refusal must be a problem."""
        client = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Type": "application/json"}
        try:
            client.request(method, path, None if body is None else json.dumps(body), sent)
            response = client.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            client.close()
        if response.status >= 400 and path.startswith("/api/"):
            assert response.headers["Content-Type"] == "application/problem+json", answer
        return response.status, answer


@contextlib.contextmanager
def running_outpost(folder: Path) -> Iterator[Outpost]:
    """An outpost, and this process's own Django on its database."""
    servers = folder / "servers"
    servers.mkdir()
    with own_database(servers) as database:
        outpost = Outpost(database, folder)
        before = dict(connection.settings_dict)
        connection.close()
        connection.settings_dict.update(database_from(database.url))
        try:
            outpost.start()
            yield outpost
        finally:
            connection.close()
            connection.settings_dict.update(before)
            outpost.stop()
