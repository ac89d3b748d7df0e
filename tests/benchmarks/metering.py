"""A minute of 10 000 running leases: reports read, usage metered, journals posted; the goal is 10 s on 2 cores.

    DATABASE_URL=… DATABASE_OWNER_URL=… python -m tests.benchmarks.metering [--leases 10000] [--cards 8] [--workers 2]

Works in a database of its own, which it drops. Every host has `--cards` cards, each leased to another order, and has
reported every five seconds; `--workers` processes settle at the same time, as the two hands of a worker do; CPU
seconds are theirs and PostgreSQL's. The first tick finds ten minutes to meter, the next ones a minute each.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import time
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
import psycopg
from django.conf import settings

django.setup()

from django.core.management import call_command
from django.db import connection, connections

from listings.models import CapacityListing
from marketplace.leases.models import Lease, LeaseCard
from marketplace.ledger.models import AccountKind, Code, Entry, Journal
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, Posting, post_many
from marketplace.orders.models import Order
from marketplace.settlement.services import work
from nodes.models import Assignment, Card
from tests.benchmarks.ingest import cpu_of
from tests.benchmarks.scratch import scratch_database
from tests.factories import NOON, fund, make_firm
from tests.hosts import Host

DATABASE = f"fallow_bench_{os.getpid()}"
GOAL_S = 10
BEAT_S, FIRST_S, MINUTE = 5, 600, 60
BUYERS, SELLERS = 200, 50
PRICE = 2_000_000  # micros per GPU-hour
HOURS = 24
AT_ONCE = 1_000
REPORTS = """
INSERT INTO nodes_report (node_id, run, seq, received_at, observed_at, mono_ms, is_live, cards, leases)
SELECT h.node_id, 1, beat, at, at, beat * %(beat_s)s * 1000, true,
    (SELECT array_agg(v) FROM generate_series(1, %(cards)s),
        unnest(ARRAY[90, 40, 60000, 60, 300, 1900, 1, 2, 0, 0]::real[]) v),
    h.said
FROM generate_series(%(first)s, %(last)s) beat, LATERAL (SELECT %(begin)s + beat * %(beat)s AS at) t, (
    SELECT l.node_id, jsonb_agg(jsonb_build_array(l.public_id, 1, 'running')) AS said FROM leases_lease l GROUP BY 1
) h
"""


def main() -> None:
    """Print the seconds and entries of each tick."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--leases", type=int, default=10_000)
    options.add_argument("--cards", type=int, default=8)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--minutes", type=int, default=2)
    given = options.parse_args()
    with scratch_database(DATABASE):
        prepare(given)
        for minute in range(given.minutes + 1):
            tick(minute, given)
        call_command("audit_ledger")
        check(given)
        connections.close_all()


def tick(minute: int, given: argparse.Namespace) -> None:
    """The reports up to the end of a minute, and what is due then; the vacuum is not part of it."""
    until_s = FIRST_S + minute * MINUTE
    report(0 if minute == 0 else until_s - MINUTE + BEAT_S, until_s, given)
    now, entries = NOON + timedelta(seconds=until_s), Entry.objects.count()
    server = postmaster()
    connections.close_all()
    started, cpu = time.perf_counter(), cpu_of(server) + cpu_of(os.getpid())
    workers = [
        multiprocessing.get_context("fork").Process(target=work, args=(lambda: now,)) for _ in range(given.workers)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    cpu = cpu_of(server) + cpu_of(os.getpid()) - cpu
    posted = Entry.objects.count() - entries
    what = f"{FIRST_S // MINUTE} minutes" if minute == 0 else "one minute"
    journals = Journal.objects.filter(at=now).count()
    print(f"{what} of {given.leases} leases on hosts of {given.cards}: {seconds:.1f} s, {journals} journals, ", end="")
    print(f"{posted} entries, {cpu:.1f} CPU seconds (the goal is a minute within {GOAL_S} s)")


def postmaster() -> int:
    """The process that PostgreSQL's others come from; it is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])


def report(first_s: int, last_s: int, given: argparse.Namespace) -> None:
    """What every host says in these seconds after NOON."""
    beat = {"beat_s": BEAT_S, "beat": timedelta(seconds=BEAT_S), "begin": NOON}
    with connection.cursor() as cursor:
        cursor.execute(REPORTS, beat | {"cards": given.cards, "first": first_s // BEAT_S, "last": last_s // BEAT_S})
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=DATABASE, autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE")


def check(given: argparse.Namespace) -> None:
    """Every lease was charged for every second."""
    charged_s = FIRST_S + given.minutes * MINUTE
    assert set(Lease.objects.values_list("gpu_ms", flat=True)) == {charged_s * 1000}
    assert set(Lease.objects.values_list("settled_micros", flat=True)) == {PRICE * charged_s // 3600}


def prepare(given: argparse.Namespace) -> None:
    """The tables, and the leases with all that hangs on them, in the new database."""
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = DATABASE
    call_command("migrate", verbosity=0)
    call_command("load_catalogue", stdout=io.StringIO())
    with connection.cursor() as cursor:
        cursor.execute("SELECT fallow_keep_report_partitions(%s, 2, 14)", [NOON.date()])
    buyers, sellers = [make_firm() for _ in range(BUYERS)], [make_firm() for _ in range(SELLERS)]
    for buyer in buyers:
        fund(buyer, 10**12)
    turn = itertools.cycle(sellers)
    hosts = [Host(next(turn), NOON, count=given.cards) for _ in range(-(-given.leases // given.cards))]
    cards = list(Card.objects.select_related("node", "firm").order_by("pk"))[: given.leases]
    listings = {host.node.pk: listing(host) for host in hosts}
    orders = Order.objects.bulk_create(order(buyer) for _, buyer in zip(cards, itertools.cycle(buyers)))
    leases = Lease.objects.bulk_create(
        lease(card, of, listings[card.node_id]) for card, of in zip(cards, orders, strict=True)
    )
    LeaseCard.objects.bulk_create(LeaseCard(lease=each, card=card) for each, card in zip(leases, cards, strict=True))
    Assignment.objects.bulk_create(assignment(card, each.public_id) for each, card in zip(leases, cards, strict=True))
    hold(orders)


def listing(host: Host) -> CapacityListing:
    """An open one, for the foreign key."""
    return CapacityListing.objects.create(
        firm=host.node.firm, state="open", ask_micros_per_gpu_hour=PRICE, currency="USD", window_start_at=NOON,
        window_end_at=NOON + timedelta(days=30), duration_seconds_min=60, duration_seconds_max=10**6, created_at=NOON,
    )  # fmt: skip


def order(buyer: object) -> Order:
    """A filled one."""
    return Order(
        firm=buyer, actor="bench", state="filled", gpus=["h100-sxm5-80gb"], count=1, duration_seconds=HOURS * 3600,
        cap_micros=PRICE, currency="USD", time_in_force="gtc", expires_at=NOON, workload={},
        escrow_micros=HOURS * PRICE, created_at=NOON, closed_at=NOON,
    )  # fmt: skip


def lease(card: Card, of: Order, on: CapacityListing) -> Lease:
    """An active one that began at NOON."""
    return Lease(
        order=of, buyer=of.firm, seller=card.firm, listing=on, node=card.node, state="active", gpu="h100-sxm5-80gb",
        card_count=1, duration_seconds=HOURS * 3600, duration_seconds_min=60, price_micros_per_gpu_hour=PRICE,
        currency="USD", fee_basis_points=500, escrow_micros=HOURS * PRICE, reserved_at=NOON, active_at=NOON,
        ends_at=NOON + timedelta(hours=HOURS),
    )  # fmt: skip


def assignment(card: Card, holder: str) -> Assignment:
    """What the host runs."""
    epochs = {card.uuid: 1}
    return Assignment(
        node=card.node, holder=holder, seen="running", running_epochs=epochs, epochs=epochs, payload="", signature="",
        created_at=NOON,
    )  # fmt: skip


def hold(orders: list[Order]) -> None:
    """The money of every order, set aside."""

    def escrowed(each: Order) -> Posting:
        wallet, escrow = (
            account_for(firm=each.firm, kind=kind, currency="USD", ref=ref)
            for kind, ref in ((AccountKind.WALLET, ""), (AccountKind.ESCROW, each.public_id))
        )
        legs = (Leg(wallet, -each.escrow_micros), Leg(escrow, each.escrow_micros))
        return Posting(f"escrow:{each.public_id}", Code.ORDER_ESCROW, legs, each.public_id, {})

    for first in range(0, len(orders), AT_ONCE):
        post_many([escrowed(each) for each in orders[first : first + AT_ONCE]], now=NOON)


if __name__ == "__main__":
    main()
