"""Postings per second with eight clients, beside plain one-row inserts in the same run.

    DATABASE_URL=… DATABASE_OWNER_URL=… python -m tests.benchmarks.ledger_postings [--seconds 5] [--clients 8]

Works in a database of its own, which it drops. One posting is what a settlement is: escrow → earnings and fee.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
from collections.abc import Callable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
import psycopg
from django.conf import settings

django.setup()

from django.core.management import call_command
from django.db import connection, connections

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from tests.factories import NOON, fund, make_firm

DATABASE = f"fallow_bench_{os.getpid()}"
INSERT = """
INSERT INTO events_idempotencykey (firm_id, key, body_hash, resource, created_at) VALUES (%s, %s, '', '', now())
"""


def main() -> None:
    """Alternate both twice and print the rates and their ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--clients", type=int, default=8)
    given = options.parse_args()
    owner = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")
    try:
        prepare()
        runs = [(rate(poster, given), rate(inserter, given)) for _ in range(2)]
        call_command("audit_ledger")
    finally:
        connections.close_all()
        with psycopg.connect(owner, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    for postings, inserts in runs:
        print(f"{given.clients} clients: {postings:.0f} postings/s, {inserts:.0f} one-row inserts/s", end="")
        print(f", ratio {postings / inserts:.2f}")


def prepare() -> None:
    """The tables, in the new database."""
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = DATABASE
    call_command("migrate", verbosity=0)


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


def rate(make: Callable[[int], Callable[[int], None]], given: argparse.Namespace) -> float:
    """Turns per second of all clients together."""
    counts = [0] * given.clients
    turns = [make(number) for number in range(given.clients)]
    deadline = time.monotonic() + given.seconds

    def work(number: int) -> None:
        for turn in itertools.count():
            if time.monotonic() > deadline:
                break
            turns[number](turn)
            counts[number] += 1
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(given.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / given.seconds


if __name__ == "__main__":
    main()
