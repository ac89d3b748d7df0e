"""A real ingest process on a loopback port, and a plain client of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from nodes.agent import protocol
from nodes.agent.protocol import ReportBatch, ReportReply

ROOT = Path(__file__).parents[3]
READY_SECONDS = 30


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reply(self) -> ReportReply:
        """The wanted state, of a 202."""
        assert self.status == 202, self.body
        return protocol.decode(ReportReply, self.body)


class Ingest:
    """Starts on `port` and can be killed and started again there."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def start(self, **environment: str) -> None:
        """Return when /healthz is well."""
        command = "-m uvicorn nodes.ingest.asgi:application --http httptools --no-access-log --log-level warning"
        self.process = subprocess.Popen(
            [sys.executable, *command.split(), "--host", "127.0.0.1", "--port", str(self.port)],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": self.database_url} | environment,
        )
        until(self.is_healthy, READY_SECONDS)

    def is_healthy(self) -> bool:
        """Whether it is up and PostgreSQL answers it."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/healthz").status == 200
        return False

    def kill(self) -> None:
        """No goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """In order."""
        self.process.terminate()
        self.process.wait(30)

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def post(self, bearer: str, batch: ReportBatch | bytes) -> Answer:
        """Reports of the node with this bearer."""
        body = batch if isinstance(batch, bytes) else protocol.encode(batch)
        return self.request("POST", protocol.REPORTS_PATH, body, {"Authorization": f"Bearer {bearer}"})


@contextlib.contextmanager
def running_ingest(database_url: str, **environment: str) -> Iterator[Ingest]:
    """An ingest process for as long as the block runs."""
    ingest = Ingest(database_url)
    ingest.start(**environment)
    try:
        yield ingest
    finally:
        ingest.stop()


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def until(condition: object, seconds: float = 10) -> None:
    """Poll until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{condition} did not come true within {seconds} s"
        time.sleep(0.02)
