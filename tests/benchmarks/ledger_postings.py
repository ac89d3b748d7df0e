"""Durable postings per second with eight clients, beside django-hordak and plain one-row inserts in the same run.

    DATABASE_URL=… DATABASE_OWNER_URL=… python -m tests.benchmarks.ledger_postings [--seconds 5] [--clients 8]

Works in a database of its own, which it drops. One posting is what a settlement is: escrow → earnings and fee. Every
client is a process with a connection of its own and commits each posting; fsync is on. The goal is three times as many
as django-hordak, which is measured where PYTHONPATH names a folder that has it (hordak.txt says how to fill one).
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
from django.conf import settings

HORDAK = importlib.util.find_spec("hordak") is not None
if HORDAK:
    settings.INSTALLED_APPS += ["mptt", "hordak"]
django.setup()

from django.core.management import call_command
from django.db import connection, connections, transaction

from marketplace.common.management.commands.migrate import grant_runtime_role
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from tests.benchmarks.scratch import scratch_database
from tests.factories import NOON, fund, make_firm

if HORDAK:
    from hordak import models as theirs
    from moneyed import Money

DATABASE = f"fallow_bench_{os.getpid()}"
GOAL = 3
INSERT = """
INSERT INTO events_idempotencykey (firm_id, key, body_hash, resource, created_at) VALUES (%s, %s, '', '', now())
"""


def main() -> None:
    """Alternate all of them twice and print the rates and their ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()
    makers = {"postings": poster, "one-row inserts": inserter} | ({"hordak": hordak} if HORDAK else {})
    with scratch_database(DATABASE):
        prepare()
        runs = [{name: rate(make, given) for name, make in makers.items()} for _ in range(given.rounds)]
        call_command("audit_ledger")
        connections.close_all()
    for run in runs:
        print(f"{given.clients} clients: " + ", ".join(f"{each:.0f} {name}/s" for name, each in run.items()), end="")
        ratios = {name: run["postings"] / each for name, each in run.items() if name != "postings"}
        print("; postings to " + ", to ".join(f"{name} {each:.2f}" for name, each in ratios.items()))
    print(f"the goal is {GOAL} times django-hordak" if HORDAK else "django-hordak is missing: see hordak.txt")


def prepare() -> None:
    """The tables, in the new database."""
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = DATABASE
    runtime, owner = dict(connection.settings_dict), connections["owner"].settings_dict
    # Some of hordak's migrations ask the default connection, which must not wait for another one then.
    connection.settings_dict.update(USER=owner["USER"], PASSWORD=owner["PASSWORD"])
    call_command("migrate", database="default", verbosity=0)
    connection.close()
    connection.settings_dict.update(USER=runtime["USER"], PASSWORD=runtime["PASSWORD"])
    grant_runtime_role()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name || ' ' || setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
        print(", ".join(setting for (setting,) in cursor.fetchall()))


def poster(number: int) -> Callable[[int], None]:
    """One client's posting; every client has a buyer and a seller, all share the platform's account."""
    buyer, seller = make_firm(), make_firm()
    fund(buyer, 10**12)
    escrow = account_for(firm=buyer, kind=AccountKind.WALLET, currency="USD")
    earnings = account_for(firm=seller, kind=AccountKind.EARNINGS, currency="USD")
    fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD")
    prefix = f"bench:{time.monotonic_ns()}:{number}"

    def once(turn: int) -> None:
        legs = [Leg(escrow, -100), Leg(earnings, 95), Leg(fee, 5)]
        post(ref=f"{prefix}:{turn}", code=Code.SETTLEMENT, legs=legs, now=NOON)

    return once


def inserter(number: int) -> Callable[[int], None]:
    """One client's commit of one row: what the disk and the driver allow."""
    prefix = f"bench:{time.monotonic_ns()}:{number}"

    def once(turn: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [number, f"{prefix}:{turn}"])

    return once


def hordak(number: int) -> Callable[[int], None]:
    """The same three legs as its documentation writes them: a transaction, and each leg created in it."""
    kept: dict[str, object] = {"currencies": ["USD"], "type": theirs.AccountType.liability}
    escrow, earnings = (
        theirs.Account.objects.create(name=f"{what} {number}", **kept) for what in ("escrow", "earnings")
    )
    fee, _ = theirs.Account.objects.get_or_create(name="fee", defaults=kept)

    def once(turn: int) -> None:
        with transaction.atomic():
            journal = theirs.Transaction.objects.create(description=f"{number}:{turn}")
            theirs.Leg.objects.create(transaction=journal, account=escrow, debit=Money("1.00", "USD"))
            theirs.Leg.objects.create(transaction=journal, account=earnings, credit=Money("0.95", "USD"))
            theirs.Leg.objects.create(transaction=journal, account=fee, credit=Money("0.05", "USD"))

    return once


def rate(make: Callable[[int], Callable[[int], None]], given: argparse.Namespace) -> float:
    """Turns per second of all clients together."""
    forked = multiprocessing.get_context("fork")
    turns = [make(number) for number in range(given.clients)]
    connections.close_all()
    together, counts = forked.Barrier(given.clients), forked.Array("q", given.clients)

    def work(number: int) -> None:
        connection.ensure_connection()
        together.wait()
        deadline = time.monotonic() + given.seconds
        for turn in itertools.count():
            if time.monotonic() > deadline:
                break
            turns[number](turn)
            counts[number] += 1

    processes = [forked.Process(target=work, args=(number,)) for number in range(given.clients)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    return sum(counts) / given.seconds


if __name__ == "__main__":
    main()
