"""Recompute the whole ledger from its entries and say what does not agree."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

CHECKS = {
    "journals that do not sum to zero": """
        SELECT j.public_id, e.currency, sum(e.amount_micros) FROM ledger_journal j
        JOIN ledger_entry e ON e.journal_id = j.id GROUP BY j.public_id, e.currency HAVING sum(e.amount_micros) <> 0
    """,
    "journals with fewer than two entries": """
        SELECT j.public_id, count(e.id) FROM ledger_journal j LEFT JOIN ledger_entry e ON e.journal_id = j.id
        GROUP BY j.public_id HAVING count(e.id) < 2
    """,
    "balances that differ from their entries": """
        SELECT a.id, a.kind, a.balance_micros, coalesce(sum(e.amount_micros), 0) FROM ledger_account a
        LEFT JOIN ledger_entry e ON e.account_id = a.id WHERE a.is_running
        GROUP BY a.id HAVING a.balance_micros <> coalesce(sum(e.amount_micros), 0)
    """,
    "firms' accounts below zero": "SELECT id, kind, balance_micros FROM ledger_account WHERE balance_micros < 0",
    "snapshots that differ from their entries": """
        SELECT s.id, s.account_id, s.balance_micros, sum(e.amount_micros), s.newest_at, max(j.at)
        FROM ledger_snapshot s LEFT JOIN (ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id)
            ON e.account_id = s.account_id AND e.id <= s.through_entry
        GROUP BY s.id HAVING s.balance_micros IS DISTINCT FROM sum(e.amount_micros)
            OR s.newest_at IS DISTINCT FROM max(j.at)
    """,
    "journals that count for a closed time and came after the close": """
        SELECT DISTINCT j.public_id, j.at, l.closed_until FROM ledger_periodlock l
        JOIN ledger_entry e ON e.id > l.through_entry JOIN ledger_journal j ON j.id = e.journal_id
        WHERE j.at < l.closed_until AND NOT EXISTS (
            SELECT 1 FROM ledger_periodlock r WHERE r.id > l.id AND r.request_id IS NOT NULL AND r.closed_until <= j.at
        )
    """,
    "entries in another currency than their account": """
        SELECT e.id FROM ledger_entry e JOIN ledger_account a ON a.id = e.account_id WHERE a.currency <> e.currency
    """,
}
TOTALS = "SELECT currency, count(*), sum(amount_micros)::bigint FROM ledger_entry GROUP BY currency ORDER BY currency"


class Command(BaseCommand):
    """`manage.py audit_ledger`: exit status 1 when anything is wrong."""

    help = "Recompute every journal and balance from the entries."

    def handle(self, *args: Any, **options: Any) -> None:
        found = {name: rows for name, query in CHECKS.items() if (rows := _rows(query))}
        for currency, count, total in _rows(TOTALS):
            self.stdout.write(f"{currency}: {count} entries, sum {total}")
        for name, rows in found.items():
            self.stdout.write(f"{name}: {rows[:20]}")
        if found:
            raise CommandError("the ledger does not agree with itself")
        self.stdout.write("the ledger is clean")


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
