"""A page of a statement of the far past, and an opening balance of then, with and without snapshots and closed books.

    DATABASE_URL=… DATABASE_OWNER_URL=… python -m tests.benchmarks.old_statement [--nights 100] [--entries 500]

Works in a database of its own, which it drops. One account gets so many entries a day and a snapshot every night; the
first tenth is closed when it is over.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
import psycopg
from django.conf import settings

django.setup()

from django.core.management import call_command
from django.db import connections, transaction

from marketplace.ledger.folding import Held, held_at
from marketplace.ledger.models import AccountKind, Code, Entry, Journal
from marketplace.ledger.periods import close_until
from marketplace.ledger.selectors import account_for, balances_after, statement
from marketplace.ledger.snapshots import take_snapshots
from tests.factories import NOON, make_firm, make_person

DATABASE = f"fallow_bench_{os.getpid()}"
TURNS = 15
DROP = """
ALTER TABLE ledger_snapshot DISABLE TRIGGER USER; DELETE FROM ledger_snapshot;
ALTER TABLE ledger_snapshot ENABLE TRIGGER USER;
ALTER TABLE ledger_periodlock DISABLE TRIGGER USER; DELETE FROM ledger_periodlock;
ALTER TABLE ledger_periodlock ENABLE TRIGGER USER;
"""


def main() -> None:
    """Fill, measure with snapshots, take them away, measure again, print both and the ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--nights", type=int, default=100)
    options.add_argument("--entries", type=int, default=500)
    given = options.parse_args()
    owner = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")
    try:
        measure(owner, given)
    finally:
        connections.close_all()
        with psycopg.connect(owner, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def measure(owner: str, given: argparse.Namespace) -> None:
    """The same two questions twice; the answers must be the same."""
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = DATABASE
    call_command("migrate", verbosity=0)
    firm = make_firm()
    fill(firm, given)
    with psycopg.connect(owner, dbname=DATABASE, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE ledger_entry, ledger_journal, ledger_snapshot, ledger_account")
    call_command("audit_ledger")
    oldest = list(statement(firm=firm, kind=AccountKind.WALLET, currency="USD").order_by("pk")[:25])
    early = NOON + timedelta(days=early_day(given))
    questions: dict[str, Callable[[], dict[int, int] | Held]] = {
        "the oldest page": lambda: balances_after(oldest),
        "an early opening balance": lambda: held_at(firm, "USD", early),
    }
    with_them = {name: (ask(), milliseconds(ask)) for name, ask in questions.items()}
    with psycopg.connect(owner, dbname=DATABASE, autocommit=True) as admin:
        admin.execute(DROP)
    for name, ask in questions.items():
        answer, quick = with_them[name]
        assert ask() == answer, "snapshots changed an answer"
        slow = milliseconds(ask)
        print(f"{name} of {given.nights * given.entries} entries: {quick:.1f} ms with", end="")
        print(f", {slow:.1f} ms without, ratio {slow / quick:.1f}")


def fill(firm: object, given: argparse.Namespace) -> None:
    """The days, each in one transaction, and the night after it."""
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="bench")
    wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency="USD")  # type: ignore[arg-type]
    for day in range(given.nights):
        at = NOON + timedelta(days=day)
        with transaction.atomic():
            journals = [Journal(ref=f"{day}:{n}", code=Code.DEPOSIT, at=at) for n in range(given.entries)]
            journals = Journal.objects.bulk_create(journals)
            legs = [(journal, account, way) for journal in journals for account, way in ((outside, -1), (wallet, 1))]
            Entry.objects.bulk_create(
                Entry(journal=journal, account=account, currency="USD", amount_micros=way)
                for journal, account, way in legs
            )
        take_snapshots(now=at + timedelta(hours=14), least=1)
        if day == early_day(given):
            close_until(operator=make_person(is_operator=True), until=at, now=at + timedelta(hours=14))


def early_day(given: argparse.Namespace) -> int:
    """The day before which everything was closed in time."""
    return int(given.nights // 10)


def milliseconds(ask: Callable[[], object]) -> float:
    """The middle of some turns."""
    took = []
    for _ in range(TURNS):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    main()
