"""Balances as of a time, and the snapshots that keep them cheap. Amounts are micros, times are `Journal.at`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

ENTRIES_MIN = 200  # an account with fewer entries since its last snapshot is read as quickly without one
SETTLED_AFTER = timedelta(hours=1)
EVERY = timedelta(hours=20)  # a nightly tick that came late must not skip the next night

# A firm's accounts are locked by whoever posts, so what is visible of them has no gaps. The platform's are not: an
# entry may still appear below a visible one. So those wait for everybody who was there, and an hour, and end before the
# first entry that has not waited: one that counts for an earlier time may stand behind it.
TAKE = """
INSERT INTO ledger_snapshot (account_id, through_entry, newest_at, balance_micros, taken_at)
SELECT a.id, n.through_entry, greatest(n.newest_at, s.newest_at), coalesce(s.balance_micros, 0) + n.micros, %(now)s
FROM ledger_account a
LEFT JOIN LATERAL (
    SELECT through_entry, newest_at, balance_micros FROM ledger_snapshot
    WHERE account_id = a.id ORDER BY through_entry DESC LIMIT 1
) s ON true
CROSS JOIN LATERAL (
    SELECT max(id) AS through_entry, max(at) AS newest_at, sum(amount_micros) AS micros, count(*) AS entries FROM (
        SELECT e.id, e.amount_micros, j.at, bool_and(a.is_running OR (
            j.at < %(settled)s AND j.xact < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
        )) OVER (ORDER BY e.id) AS is_settled
        FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
        WHERE e.account_id = a.id AND e.id > coalesce(s.through_entry, 0)
    ) entries WHERE is_settled
) n
WHERE n.entries >= %(least)s
ON CONFLICT DO NOTHING
"""
DUE = "SELECT NOT EXISTS (SELECT 1 FROM ledger_snapshot WHERE taken_at > %s)"

# What counts for a closed time has no entry behind the close's own, so reading can stop there.
THROUGH = """
SELECT min(through_entry) FROM ledger_periodlock l
WHERE closed_until >= %(at)s AND id > coalesce((SELECT max(id) FROM ledger_periodlock WHERE closed_until < %(at)s), 0)
"""
BALANCES = """
SELECT a.id, (coalesce(s.balance_micros, 0) + coalesce((
    SELECT sum(e.amount_micros) FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id
    WHERE e.account_id = a.id AND e.id > coalesce(s.through_entry, 0) AND e.id <= %(through)s AND j.at < %(at)s
), 0))::bigint
FROM ledger_account a LEFT JOIN LATERAL (
    SELECT through_entry, balance_micros FROM ledger_snapshot
    WHERE account_id = a.id AND newest_at < %(at)s ORDER BY through_entry DESC LIMIT 1
) s ON true
WHERE %(everyone)s OR a.id = ANY(%(accounts)s)
"""
LAST = 2**63 - 1


def take_snapshots(*, now: datetime, least: int = ENTRIES_MIN, force: bool = False) -> int:
    """Once a night, for every account with `least` new entries; returns how many were written."""
    with connection.cursor() as cursor:
        cursor.execute(DUE, [now - EVERY])
        if not (force or cursor.fetchone()[0]):
            return 0
        cursor.execute(TAKE, {"now": now, "settled": now - SETTLED_AFTER, "least": least})
        return int(cursor.rowcount)


def last_entry_before(at: datetime) -> int:
    """No entry behind this one counts for a time before `at`. Open periods have no such end yet."""
    with connection.cursor() as cursor:
        cursor.execute(THROUGH, {"at": at})
        (through,) = cursor.fetchone()
    return LAST if through is None else int(through)


def balances_at(at: datetime, accounts: Collection[int] | None = None) -> dict[int, int]:
    """Account id → what it held just before `at`; every account when none are named."""
    given: dict[str, Any] = {"at": at, "through": last_entry_before(at)}
    given |= {"everyone": accounts is None, "accounts": list(accounts or [])}
    with connection.cursor() as cursor:
        cursor.execute(BALANCES, given)
        return dict(cursor.fetchall())
