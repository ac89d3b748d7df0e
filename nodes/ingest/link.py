"""A connection to PostgreSQL that lives in a thread of its own, so that the event loop never waits for the server."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_SECONDS = 3
RETRY_SECONDS_FIRST = 0.1
RETRY_SECONDS_MAX = 5.0
# A report is acknowledged when it is on disk, whatever the server's default says.
OPTIONS = "-c statement_timeout=10000 -c synchronous_commit=on -c timezone=UTC"


class DatabaseAway(Exception):
    """PostgreSQL can't be reached, or went away before it confirmed."""


class Link:
    """One connection; after a failure it is made anew, with back-off and jitter, by whoever asks next."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._retry_seconds = RETRY_SECONDS_FIRST

    @property
    def is_up(self) -> bool:
        """Whether the last use succeeded."""
        return self._connection is not None

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` returns, run in the connection's thread. Raises DatabaseAway, at once while backing off."""
        if time.monotonic() < self._retry_at:
            raise DatabaseAway("waiting to reconnect")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._use, work)

    async def close(self) -> None:
        """Finish the work that has begun and hang up."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._hang_up)
        self._thread.shutdown()

    def _use(self, work: Callable[[Connection], Result]) -> Result:
        try:
            if self._connection is None:
                self._connection = self._connect()
            result = work(self._connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._back_off(error)
            raise DatabaseAway(str(error)) from error
        self._retry_seconds = RETRY_SECONDS_FIRST
        return result

    def _connect(self) -> Connection:
        return psycopg.connect(self._conninfo, autocommit=True, connect_timeout=CONNECT_SECONDS, options=OPTIONS)

    def _back_off(self, error: Exception) -> None:
        log.warning("PostgreSQL is away: %s", str(error).partition("\n")[0])
        self._hang_up()
        self._retry_at = time.monotonic() + random.uniform(0.5, 1) * self._retry_seconds  # noqa: S311 - only jitter
        self._retry_seconds = min(2 * self._retry_seconds, RETRY_SECONDS_MAX)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
