"""Waiting for what runs beside a test."""

from __future__ import annotations

import time

from django.db import connection


def let_older_transactions_end() -> None:
    """Until whatever began before this moment has ended, in any database of the server.

    Another process of the tests may be in one; the feed of events and the platform's snapshots stop before it.
    """
    deadline = time.monotonic() + 60
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (newest,) = cursor.fetchone()
        oldest = 0
        while oldest <= newest:
            assert time.monotonic() < deadline, "an older transaction still runs"
            time.sleep(0.02)
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            (oldest,) = cursor.fetchone()
