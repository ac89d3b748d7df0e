"""A database for one benchmark."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psycopg


@contextlib.contextmanager
def scratch_database(name: str) -> Iterator[None]:
    """It is there, empty, for as long as the block runs."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    try:
        yield
    finally:
        _drop(name)


def _drop(name: str) -> None:
    """Once the autovacuum, which nobody but a superuser may end, is done with the new rows."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as admin:
        for _ in range(60):
            with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
                return
            time.sleep(1)
