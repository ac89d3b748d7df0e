"""One hour of 6 000 cards by one statement, beside card after card through the ORM in the same run.

    DATABASE_URL=… DATABASE_OWNER_URL=… python -m tests.benchmarks.fleet_rollup [--nodes 750] [--sample 40]

Works in a database of its own, which it drops. The plain way is timed on a sample of cards and scaled up.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import time
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
import psycopg
from django.conf import settings

django.setup()

from django.core.management import call_command
from django.db import connection, connections

from marketplace.fleet.models import CardHour
from marketplace.fleet.rollup import roll_up_hour
from nodes.agent.protocol import CARD_FIELDS
from nodes.models import Card, CardOrder, Claim, Report
from tests.factories import NOON, make_firm
from tests.hosts import Host

DATABASE = f"fallow_bench_{os.getpid()}"
CARDS = 8
HOUR = timedelta(hours=1)
REPORTS = """
INSERT INTO nodes_report (node_id, run, seq, received_at, observed_at, mono_ms, is_live, cards)
SELECT n.id, 1, tick, at, at, tick * 5000, true,
    (SELECT array_agg(v) FROM generate_series(1, %(cards)s) c,
        unnest(ARRAY[c * 10, 2, 4, 40, 60 + tick %% 7, 300, c %% 3, 0, 0, 0]::real[]) v)
FROM nodes_node n, generate_series(0, 2 * 720 - 1) tick,
    LATERAL (SELECT %(since)s - interval '30 minutes' + tick * interval '5 seconds' AS at) t
"""


def main() -> None:
    """Make the hour, read it both ways, print seconds and the ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--nodes", type=int, default=750)
    options.add_argument("--sample", type=int, default=40)
    given = options.parse_args()
    owner = os.environ["DATABASE_OWNER_URL"]
    with psycopg.connect(owner, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE}")
    try:
        prepare(given.nodes)
        report(given)
    finally:
        connections.close_all()
        drop(owner)


def drop(owner: str) -> None:
    """Once the autovacuum, which nobody but a superuser may end, is done with the new rows."""
    with psycopg.connect(owner, autocommit=True) as admin:
        for _ in range(60):
            with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege):
                admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
                return
            time.sleep(1)


def report(given: argparse.Namespace) -> None:
    """Time both and compare what they found."""
    first = timed(lambda: roll_up_hour(NOON))
    again = timed(lambda: roll_up_hour(NOON))
    cards = Card.objects.count()
    sample = list(Card.objects.order_by("pk")[:: max(cards // given.sample, 1)])
    started = time.perf_counter()
    found = {card.pk: plain_hour(card) for card in sample}
    plain = (time.perf_counter() - started) * cards / len(sample)
    told = {row.card_id: row.idle_seconds for row in CardHour.objects.filter(card__in=sample)}
    assert told == found, "both ways must tell the same"
    print(f"{cards} cards, {Report.objects.count()} reports: one statement {first:.1f} s, again {again:.1f} s")
    print(f"card by card {plain:.1f} s (from {len(sample)} cards), ratio {plain / again:.1f}")


def timed(work: object) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def prepare(nodes: int) -> None:
    """The tables, the fleet and two hours of its reports, in the new database."""
    for alias in ("default", "owner"):
        settings.DATABASES[alias]["NAME"] = connections[alias].settings_dict["NAME"] = DATABASE
    call_command("migrate", verbosity=0)
    call_command("load_catalogue", stdout=io.StringIO())
    firm, since = make_firm(), NOON - timedelta(days=1)
    hosts = [Host(firm, since, count=CARDS, gpu="rtx-4090-d") for _ in range(nodes)]
    CardOrder.objects.bulk_create(
        CardOrder(node=host.node, since_at=since, uuids=[card.uuid for card in host.cards]) for host in hosts
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT fallow_keep_report_partitions(%s, 2, 14)", [NOON.date()])
        cursor.execute(REPORTS, {"cards": CARDS, "since": NOON})
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=DATABASE, autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE")


def plain_hour(card: Card) -> int:
    """The idle seconds of one card, read as anybody would first write it."""
    assert card.node_id is not None
    claims = list(Claim.objects.filter(card=card, kind="lease").values_list("period", flat=True))
    order = CardOrder.objects.filter(node_id=card.node_id, since_at__lte=NOON).latest("since_at")
    place = order.uuids.index(card.uuid) * len(CARD_FIELDS)
    rows = Report.objects.filter(
        node_id=card.node_id, received_at__gte=NOON - timedelta(seconds=15), received_at__lt=NOON + 2 * HOUR,
        observed_at__gte=NOON - timedelta(seconds=15), observed_at__lt=NOON + HOUR,
    ).order_by("observed_at")  # fmt: skip
    reports = list(rows.values_list("observed_at", "cards"))
    idle = 0.0
    for number, (at, values) in enumerate(reports):
        until = reports[number + 1][0] if number + 1 < len(reports) else NOON + HOUR
        seconds = (min(until, at + timedelta(seconds=15), NOON + HOUR) - max(at, NOON)).total_seconds()
        read = dict(zip(CARD_FIELDS, values[place : place + len(CARD_FIELDS)], strict=True))
        is_used = read["owner_processes"] > 0 or read["utilisation_percent"] > 5 or read["memory_used_mib"] > 245
        if seconds > 0 and not is_used and not read["health"] and not any(at in period for period in claims):
            idle += seconds
    return round(idle)


if __name__ == "__main__":
    main()
