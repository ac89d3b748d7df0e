"""The tick that turns reports into what the market may offer."""

from __future__ import annotations

import math
import os
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.common.hints import Bell
from marketplace.events.models import Event
from nodes.agent.protocol import Health
from nodes.models import Assignment, CardState, Claim, IngestClock, Node, NodeReportState, Report
from nodes.services.availability import keep_report_partitions, mark_lost_nodes, process_reports
from nodes.services.inventory import record_inventory
from nodes.states import Availability, ClaimKind, NodeState
from tests.conftest import TEST_DATABASE
from tests.factories import NOON
from tests.nodes.builders import HEALTHY, card_identity, heard, make_inventory, make_node

pytestmark = pytest.mark.django_db
QUIET = [0.0, 0.0, 2.0, *HEALTHY[3:]]
BUSY = [90.0, 30.0, 20_000.0, *HEALTHY[3:6], 1.0, *HEALTHY[7:]]


@pytest.fixture
def node(settings):
    """A PENDING node with two cards that has been quiet for the whole window."""
    settings.IDLE_AFTER_SECONDS = 20
    node, _ = make_node(state=NodeState.PENDING)
    inventory = make_inventory(card_identity(), card_identity())
    record_inventory(node_public_id=node.public_id, inventory=inventory, now=NOON - timedelta(minutes=5))
    node.refresh_from_db()
    for seq in range(1, 7):
        heard(node, NOON - timedelta(seconds=30 - 5 * seq), seq, [QUIET, BUSY])
    return node


def states(node):
    return list(CardState.objects.filter(card__node=node).order_by("card__index"))


def tick(now=NOON):
    return process_reports(now=now)


def test_a_quiet_card_is_idle_and_a_busy_one_its_owners(node):
    assert tick() == 1
    quiet, busy = states(node)
    assert (quiet.availability, busy.availability) == (Availability.IDLE, Availability.OWNER_USED)
    assert quiet.observed_at == NOON
    assert quiet.sample["memory_used_mib"] == 2.0
    assert quiet.baseline_mib == 2
    assert "owner_process" in busy.reasons
    node.refresh_from_db()
    assert (node.state, node.last_seen_at) == (NodeState.ONLINE, NOON)
    assert Event.objects.filter(type="node.online", subject=node.public_id).exists()


def test_nothing_is_done_twice_and_the_version_grows_only_with_a_change(node):
    tick()
    version = states(node)[0].version
    assert tick() == 0
    heard(node, NOON + timedelta(seconds=5), 7, [QUIET, BUSY])
    assert tick(NOON + timedelta(seconds=5)) == 1
    quiet = states(node)[0]
    assert (quiet.version, quiet.observed_at) == (version, NOON + timedelta(seconds=5))
    heard(node, NOON + timedelta(seconds=10), 8, [BUSY, BUSY])
    tick(NOON + timedelta(seconds=10))
    busy = states(node)[0]
    assert (busy.version, busy.availability) == (version + 1, Availability.OWNER_USED)
    assert busy.since_at == NOON + timedelta(seconds=10)


def test_its_owner_is_told_when_a_card_breaks_and_when_it_is_well_again(node):
    tick()
    card = states(node)[0].card
    told = Event.objects.filter(subject=card.public_id).exclude(type="card.seen")
    before = told.count()
    broken = [*QUIET[:8], float(Health.XID), 79.0]
    for number, (first, expected) in enumerate(
        ((broken, "unhealthy"), (broken, "unhealthy"), (QUIET, "owner_used")), 1
    ):
        heard(node, NOON + timedelta(seconds=5 * number), 6 + number, [first, BUSY])
        tick(NOON + timedelta(seconds=5 * number))
        assert states(node)[0].availability == expected
    news = list(told.order_by("pk").values_list("type", "reason", "data__from", "firm_id"))[before:]
    assert [each[:3] for each in news] == [
        ("card.unhealthy", "critical_xid", "idle"),
        ("card.owner_used", "not_healthy_long_enough", "unhealthy"),
    ]
    assert {each[3] for each in news} == {node.firm_id}


def test_a_card_whose_lease_has_not_stopped_is_leased_however_its_claim_ended(node):
    card = states(node)[0].card
    until = NOON - timedelta(minutes=1)
    Claim.objects.create(
        card=card, period=DateTimeTZRange(until - timedelta(hours=1), until), kind=ClaimKind.LEASE, holder="lse_1"
    )
    assignment = Assignment.objects.create(
        node=node, holder="lse_1", wanted="stop", seen="stopping", running_epochs={card.uuid: 1},
        epochs={card.uuid: 2}, payload="", signature="", created_at=until - timedelta(hours=1),
    )  # fmt: skip
    tick()
    assert states(node)[0].availability == Availability.LEASED
    Assignment.objects.filter(pk=assignment.pk).update(seen="exited")
    heard(node, NOON + timedelta(seconds=5), 7, [QUIET, BUSY])
    tick(NOON + timedelta(seconds=5))
    assert states(node)[0].availability == Availability.IDLE


def test_a_claim_makes_a_card_leased_and_its_end_gives_it_back_at_once(node):
    card = states(node)[0].card
    claim = Claim.objects.create(
        card=card,
        period=DateTimeTZRange(NOON - timedelta(seconds=60), NOON + timedelta(hours=1)),
        kind=ClaimKind.LEASE,
        holder="lse_1",
    )
    heard(node, NOON, 7, [[99.0, 50.0, 20_000.0, *HEALTHY[3:]], QUIET])
    tick()
    assert states(node)[0].availability == Availability.LEASED
    assert states(node)[0].baseline_mib is None
    claim.period = DateTimeTZRange(NOON - timedelta(seconds=60), NOON + timedelta(seconds=1))
    claim.save()
    heard(node, NOON + timedelta(seconds=5), 8, [QUIET, QUIET])
    tick(NOON + timedelta(seconds=5))
    assert states(node)[0].availability == Availability.IDLE


def test_when_every_node_reports_again_before_all_are_read_each_still_gets_its_turn():
    nodes = [make_node()[0] for _ in range(3)]
    read = []
    for seq in range(1, 4):
        now = NOON + timedelta(seconds=5 * seq)
        for node in nodes:
            heard(node, now, seq, [QUIET])
        assert process_reports(now=now, limit=1) == 1
        read += Node.objects.filter(last_seen_at=now).values_list("pk", flat=True)
    assert sorted(read) == [node.pk for node in nodes]


@pytest.mark.parametrize("by", ["server", "host"])
def test_a_draining_node_offers_nothing(node, by):
    if by == "server":
        Node.objects.update(is_draining=True)
    else:
        NodeReportState.objects.update(draining=True)
    tick()
    assert states(node)[0].availability == Availability.DRAINING


def test_while_the_order_of_the_cards_is_unknown_nothing_is_decided(node):
    tick()
    heard(node, NOON + timedelta(seconds=5), 7, [BUSY, QUIET], inventory_digest="other")
    assert tick(NOON + timedelta(seconds=5)) == 1
    assert states(node)[0].availability == Availability.IDLE
    assert states(node)[0].observed_at == NOON  # so the offer goes stale by itself


def test_values_from_before_the_cards_were_reordered_are_not_read(node):
    tick()
    inventory = make_inventory(*(card_identity(uuid=state.card.uuid) for state in reversed(states(node))))
    record_inventory(node_public_id=node.public_id, inventory=inventory, now=NOON + timedelta(seconds=1))
    node.refresh_from_db()
    heard(node, NOON + timedelta(seconds=5), 7, [BUSY, QUIET])
    tick(NOON + timedelta(seconds=5))
    first, second = states(node)
    assert first.availability == Availability.OWNER_USED
    assert second.reasons == ["not_watched_long_enough"]


def test_a_card_that_left_the_host_is_lost_and_the_other_is_read_at_its_new_place(node):
    gone, stays = (state.card for state in states(node))
    record_inventory(node_public_id=node.public_id, inventory=make_inventory(card_identity(uuid=stays.uuid)), now=NOON)
    node.refresh_from_db()
    heard(node, NOON + timedelta(seconds=5), 7, [QUIET])
    tick(NOON + timedelta(seconds=5))
    assert CardState.objects.get(card=gone).availability == Availability.LOST
    assert CardState.objects.get(card=stays).sample["memory_used_mib"] == 2.0


def test_a_replay_of_an_older_report_is_not_a_new_sample(node):
    heard(node, NOON + timedelta(seconds=1), 2, [BUSY, QUIET])
    NodeReportState.objects.update(seq=6)
    tick(NOON + timedelta(seconds=1))
    assert states(node)[0].availability == Availability.IDLE


def test_a_reading_that_is_missing_is_null_and_unknown_health_is_not_healthy(node):
    heard(node, NOON + timedelta(seconds=5), 7, [[0.0, math.nan, *QUIET[2:8], math.nan, 0.0], QUIET])
    tick(NOON + timedelta(seconds=5))
    state = states(node)[0]
    assert state.sample["memory_bus_percent"] is None
    assert state.availability == Availability.UNHEALTHY


def test_silence_makes_a_node_lost_and_a_report_brings_it_back(node):
    IngestClock.objects.create(up_since_at=NOON - timedelta(hours=1), beat_at=NOON + timedelta(seconds=31))
    tick()
    assert mark_lost_nodes(now=NOON + timedelta(seconds=29)) == 0
    assert mark_lost_nodes(now=NOON + timedelta(seconds=31)) == 1
    node.refresh_from_db()
    assert node.state == NodeState.LOST
    assert {state.availability for state in states(node)} == {Availability.LOST}
    heard(node, NOON + timedelta(seconds=40), 7, [QUIET, BUSY])
    tick(NOON + timedelta(seconds=40))
    node.refresh_from_db()
    assert node.state == NodeState.ONLINE
    assert states(node)[0].availability == Availability.OWNER_USED  # not watched for the whole window


@pytest.mark.parametrize(("up_since", "beat"), [(10, 31), (-3600, 5)])
def test_our_own_outage_makes_no_node_lost(node, up_since, beat):
    IngestClock.objects.create(up_since_at=NOON + timedelta(seconds=up_since), beat_at=NOON + timedelta(seconds=beat))
    tick()
    assert mark_lost_nodes(now=NOON + timedelta(seconds=31)) == 0


@pytest.mark.django_db(transaction=True)
def test_what_became_idle_rings_for_the_matcher(node):
    with Bell("supply") as bell:
        tick()
        rung = bell._subscription.get_message(ignore_subscribe_messages=False, timeout=2)
        while rung and rung["type"] == "subscribe":
            rung = bell._subscription.get_message(timeout=2)
    assert rung["data"] == b"1"


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_the_nodes_and_the_ingest_waits_for_neither(node):
    with psycopg.connect(os.environ["DATABASE_URL"], dbname=TEST_DATABASE) as other, transaction.atomic():
        assert tick() == 1
        other.execute("SET lock_timeout = '500ms'")
        waiting = "SELECT id FROM nodes_node WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED"
        assert other.execute(waiting, [node.pk]).fetchall() == []
        # What a first report's foreign key asks for.
        assert other.execute("SELECT id FROM nodes_node WHERE id = %s FOR KEY SHARE", [node.pk]).fetchall()


@pytest.mark.django_db(transaction=True)
def test_partitions_come_and_go_by_the_day_and_lose_nothing(node):
    later = NOON + timedelta(days=20)
    assert Report.objects.count() == 6
    assert keep_report_partitions(now=NOON) >= 3
    assert keep_report_partitions(now=NOON) == 0
    assert Report.objects.count() == 6  # they came before their day's partition and moved there
    keep_report_partitions(now=later)
    assert Report.objects.count() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'nodes_report'::regclass")
        assert cursor.fetchone()[0] == 1 + 3
