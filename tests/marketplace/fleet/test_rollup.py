"""The hours of cards: one statement against a plain reading of the same reports, twice the same, nothing missed."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.fleet.models import CardHour, RollupMark
from marketplace.fleet.rollup import roll_up_hour
from marketplace.fleet.services import forget_old_hours, roll_up_hours
from nodes.agent.protocol import CARD_FIELDS, Health
from nodes.models import Card, CardOrder, CardState, Claim, Node, Report
from nodes.states import ClaimKind, NodeState
from tests.factories import NOON, make_firm
from tests.hosts import Host

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
NAN = float("nan")


def reading(utilisation=0.0, memory=4.0, power=60.0, owner=0.0, health=0.0):
    named = {
        "utilisation_percent": utilisation,
        "memory_used_mib": memory,
        "power_w": power,
        "owner_processes": owner,
        "health": health,
    }
    return [named.get(name, 0.0) for name in CARD_FIELDS]


def host_with_order(firm=None, count=2, since=NOON - timedelta(days=20)):
    host = Host(firm or make_firm(), since, count=count, gpu="rtx-4090-d")
    reorder(host, [card.uuid for card in host.cards], since)
    return host


def reorder(host, uuids, since):
    CardOrder.objects.create(node=host.node, since_at=since, uuids=uuids)


def hear(host, at, *cards, received=None):
    host.seq += 1
    Report.objects.create(
        node=host.node, run=1, seq=host.seq, received_at=received or at, observed_at=at, mono_ms=0, is_live=True,
        cards=[value for card in cards for value in card],
    )  # fmt: skip


def lease(card, begin, end):
    Claim.objects.create(card=card, kind=ClaimKind.LEASE, holder="lse_x", period=DateTimeTZRange(begin, end))


def hour_of(card, at=NOON):
    return CardHour.objects.get(card=card, hour_at=at)


def test_an_hour_by_hand():
    host = host_with_order()
    idle, used = host.cards
    for number in range(720):
        at = NOON + timedelta(seconds=5 * number)
        busy = reading(utilisation=90, power=400, owner=1) if number < 180 else reading()
        hear(host, at, reading(power=60), busy)
    lease(idle, NOON + timedelta(minutes=30), NOON + timedelta(minutes=45))
    assert roll_up_hour(NOON) == 2
    first, second = hour_of(idle), hour_of(used)
    assert (first.seen_seconds, first.idle_seconds, first.leased_seconds, first.owner_seconds) == (3600, 2700, 900, 0)
    assert (second.idle_seconds, second.leased_seconds, second.owner_seconds) == (2700, 0, 900)
    assert (round(second.utilisation_percent, 3), second.power_w) == (22.5, 145.0)
    assert first.firm == host.node.firm


def plain_hour(host, orders, claims, reports, since):
    """What the statement must find, in words of Python. `reports` are (observed, received, cards)."""
    until, stale = since + HOUR, timedelta(seconds=15)
    seen = sorted(
        each for each in reports if since - stale <= each[0] < until and since - stale <= each[1] < until + HOUR
    )
    found = {}
    for number, (observed, received, cards) in enumerate(seen):
        following = seen[number + 1][0] if number + 1 < len(seen) else until
        seconds = (min(following, observed + stale, until) - max(observed, since)).total_seconds()
        uuids = next((uuids for begin, uuids in reversed(orders) if begin <= received), [])
        if seconds <= 0 or len(uuids) != len(cards):
            continue
        for uuid, values in zip(uuids, cards, strict=True):
            sums = found.setdefault(uuid, {"seen": 0, "idle": 0, "leased": 0, "owner": 0, "busy": 0.0, "known": 0})
            read = dict(zip(CARD_FIELDS, values, strict=True))
            sums["seen"] += seconds
            if read["utilisation_percent"] == read["utilisation_percent"]:
                sums["busy"] += read["utilisation_percent"] * seconds
                sums["known"] += seconds
            is_used = (
                read["owner_processes"] > 0
                or read["utilisation_percent"] > 5
                or read["memory_used_mib"] > max(64, 24576 * 0.01)
            )
            if any(uuid == claimed and begin <= observed < end for claimed, begin, end in claims):
                sums["leased"] += seconds
            elif not read["health"]:
                sums["owner" if is_used else "idle"] += seconds
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_statement_reads_what_a_plain_program_reads(seed):
    dice = random.Random(seed)
    host = host_with_order(count=3)
    uuids = [card.uuid for card in host.cards]
    orders = [(NOON - timedelta(days=20), uuids)]
    if seed % 2:
        moment = NOON + timedelta(seconds=dice.randrange(3600))
        orders.append((moment, uuids[::-1] if seed % 4 == 1 else uuids[:2]))
        reorder(host, orders[-1][1], moment)
    claims, reports, at = [], [], NOON - timedelta(minutes=2)
    for card in host.cards[:2]:
        begin = NOON + timedelta(seconds=dice.randrange(-600, 3600))
        claims.append((card.uuid, begin, begin + timedelta(seconds=dice.randrange(60, 2000))))
        lease(card, *claims[-1][1:])
    while at < NOON + timedelta(minutes=62):
        at += timedelta(seconds=dice.choice([0, 5, 5, 5, 5, 7, 14, 16, 40, 300]), milliseconds=dice.randrange(1, 900))
        late = timedelta(seconds=dice.choice([0, 0, 0, 200, 5000]))
        order = next(uuids for begin, uuids in reversed(orders) if begin <= at + late)
        cards = [
            reading(
                utilisation=dice.choice([0.0, 3.0, 60.0, NAN]),
                memory=dice.choice([4.0, 4.0, 240.0, 9000.0]),
                owner=dice.choice([0.0, 0.0, 2.0]),
                health=dice.choice([0.0, 0.0, 0.0, float(Health.XID)]),
            )
            for _ in order
        ]
        reports.append((at, at + late, cards))
        hear(host, at, *cards, received=at + late)
    roll_up_hour(NOON)
    expected = plain_hour(host, orders, claims, reports, NOON)
    for card in host.cards:
        sums, row = expected[card.uuid], hour_of(card)
        told = (row.seen_seconds, row.idle_seconds, row.leased_seconds, row.owner_seconds)
        assert told == pytest.approx([sums[name] for name in ("seen", "idle", "leased", "owner")], abs=1)
        assert row.utilisation_percent == pytest.approx(sums["busy"] / sums["known"], rel=1e-4)


def test_a_second_time_changes_nothing_and_late_reports_are_taken_in():
    host = host_with_order(count=1)
    hear(host, NOON, reading())
    roll_up_hour(NOON)
    before = CardHour.objects.values().get()
    roll_up_hour(NOON)
    assert CardHour.objects.values().get() == before
    hear(host, NOON + timedelta(minutes=5), reading(), received=NOON + timedelta(minutes=50))
    roll_up_hour(NOON)
    assert hour_of(host.cards[0]).seen_seconds == 30


def test_the_reports_of_a_quarantined_host_are_nobodys_hours():
    host = host_with_order(count=1)
    hear(host, NOON, reading())
    Node.objects.update(state=NodeState.QUARANTINED)
    assert roll_up_hour(NOON) == 0


def test_hours_belong_to_whom_the_host_belonged():
    host = host_with_order(count=1)
    hear(host, NOON, reading())
    roll_up_hour(NOON)
    Card.objects.update(firm=make_firm())
    assert hour_of(host.cards[0]).firm == host.node.firm


def test_hours_missed_in_an_outage_are_caught_up_and_the_present_one_is_shown():
    host = host_with_order(count=1, since=NOON - timedelta(hours=30))
    for hours in range(30):
        hear(host, NOON - timedelta(hours=hours, minutes=-1), reading())
    now = NOON + timedelta(minutes=5)
    assert roll_up_hours(now=now) == 12
    assert CardHour.objects.filter(hour_at=NOON).exists()
    assert roll_up_hours(now=now) == 12
    assert roll_up_hours(now=now) == 5  # the last two are not finished yet
    assert roll_up_hours(now=now) == 0
    assert CardHour.objects.count() == 30
    assert RollupMark.objects.get().done_until_at == NOON - HOUR
    assert roll_up_hours(now=now + HOUR) == 1


def test_a_fleet_that_never_reported_costs_nothing():
    assert roll_up_hours(now=NOON) == 0
    assert not RollupMark.objects.exists()


def test_hours_are_forgotten_in_time(settings):
    host = host_with_order(count=1)
    for days in (0, 99, 101):
        row = {"seen_seconds": 0, "idle_seconds": 0, "leased_seconds": 0, "owner_seconds": 0}
        CardHour.objects.create(card=host.cards[0], firm=host.node.firm, hour_at=NOON - timedelta(days=days), **row)
    assert forget_old_hours(now=NOON) == 1
    assert CardState.objects.count() == 1
