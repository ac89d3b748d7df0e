"""Reports over HTTP into PostgreSQL, through a real process."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from datetime import timedelta

import pytest

from marketplace.common import clock
from marketplace.common.hints import Bell
from nodes.agent import protocol
from nodes.agent.protocol import LeaseStatus, Phase
from nodes.models import Assignment, IngestClock, NodeReportState, Report
from nodes.states import NodeState, Seen, Wanted
from tests.factories import NOON
from tests.nodes.builders import HEALTHY, make_batch, make_node, make_report
from tests.nodes.ingest.process import until

pytestmark = pytest.mark.django_db(transaction=True)


def state_of(node):
    return NodeReportState.objects.get(node=node)


def test_a_report_is_stored_before_it_is_acknowledged(ingest):
    node, bearer = make_node()
    before = clock.now()
    leases = [LeaseStatus(id="lse_1", epoch=7, phase=Phase.RUNNING)]
    reply = ingest.post(bearer, make_batch(make_report(run=2, seq=5, leases=leases))).reply
    row = Report.objects.get(node=node)
    assert (row.run, row.seq, row.mono_ms, row.is_live) == (2, 5, 5000, True)
    assert row.cards == HEALTHY
    assert row.leases == [["lse_1", 7, "running"]]
    assert before <= row.received_at <= clock.now()
    assert row.observed_at == row.received_at
    assert (state_of(node).run, state_of(node).seq, state_of(node).state_version) == (2, 5, 1)
    assert reply.interval_ms == 5000
    assert not reply.inventory_wanted
    assert not reply.draining
    assert reply.commands == []


def test_readings_that_are_missing_or_impossible_become_nan(ingest):
    node, bearer = make_node()
    body = protocol.encode(make_batch(make_report(cards=[[None, -1, 1e30, 999, 41, 0, 2, 0, 0, 0]])))
    assert ingest.post(bearer, body).status == 202
    cards = Report.objects.get(node=node).cards
    assert [math.isnan(value) for value in cards[:4]] == [True] * 4
    assert cards[4:] == [41, 0, 2, 0, 0, 0]


def test_a_node_without_cards_reports_too(ingest):
    node, bearer = make_node()
    assert ingest.post(bearer, make_batch(make_report(cards=[]))).status == 202
    assert Report.objects.get(node=node).cards == []


def test_an_older_run_or_a_replay_is_kept_as_telemetry_and_never_moves_the_state(ingest):
    node, bearer = make_node()
    ingest.post(bearer, make_batch(make_report(run=3, seq=9)))
    for run, seq in ((3, 9), (3, 8), (2, 500)):
        assert ingest.post(bearer, make_batch(make_report(run=run, seq=seq))).status == 202
    assert (state_of(node).run, state_of(node).seq, state_of(node).state_version) == (3, 9, 1)
    assert Report.objects.filter(node=node).count() == 4
    assert Report.objects.filter(node=node, is_live=True).count() == 1
    ingest.post(bearer, make_batch(make_report(run=4, seq=1)))
    assert (state_of(node).run, state_of(node).seq, state_of(node).state_version) == (4, 1, 2)


def test_what_waited_on_the_host_keeps_its_time_and_is_not_live(ingest):
    node, bearer = make_node()
    reports = [make_report(seq=seq) for seq in (10, 20, 30)]
    assert ingest.post(bearer, make_batch(*reports, waited_ms=60_000)).status == 202
    rows = {row.seq: row for row in Report.objects.filter(node=node)}
    assert [rows[seq].received_at - rows[seq].observed_at for seq in (10, 20, 30)] == [
        timedelta(seconds=waited) for waited in (80, 70, 60)
    ]
    assert not any(row.is_live for row in rows.values())


def test_what_was_spooled_before_a_reboot_is_dated_by_the_wall_clock_alone(ingest):
    node, bearer = make_node()
    batch = make_batch(make_report(ts_ms=1_790_000_000_000, mono_ms=100_000))
    sent = {"sent_ts_ms": 1_790_000_060_000, "sent_mono_ms": 101_000}  # of a clock that began anew
    assert ingest.post(bearer, dataclasses.replace(batch, **sent, boot="b2")).status == 202
    row = Report.objects.get(node=node)
    assert (row.received_at - row.observed_at, row.is_live) == (timedelta(seconds=60), False)


def test_an_older_agent_that_does_not_say_its_boot_is_taken_to_be_in_that_of_its_newest_report(ingest):
    node, bearer = make_node()
    batch = make_batch(make_report(ts_ms=1_790_000_000_000, mono_ms=100_000))
    body = json.loads(protocol.encode(dataclasses.replace(batch, sent_ts_ms=1_790_000_060_000, sent_mono_ms=101_000)))
    del body["boot"]
    assert ingest.post(bearer, json.dumps(body).encode()).status == 202
    row = Report.objects.get(node=node)
    assert (row.received_at - row.observed_at, row.is_live) == (timedelta(seconds=1), True)


def test_a_host_clock_that_is_years_off_changes_nothing(ingest):
    node, bearer = make_node()
    batch = make_batch(make_report(ts_ms=0))
    assert ingest.post(bearer, batch).status == 202
    row = Report.objects.get(node=node)
    assert row.observed_at == row.received_at
    assert row.is_live


def test_only_the_newest_of_a_batch_is_live(ingest):
    node, bearer = make_node()
    ingest.post(bearer, make_batch(*(make_report(seq=seq) for seq in (1, 3, 2))))
    assert list(Report.objects.filter(node=node, is_live=True).values_list("seq", flat=True)) == [3]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_report"),
        (b"\xff\xfe{", "bad_report"),
        (b"[" * 100_000, "bad_report"),
        (b'{"reports": []}', "bad_report"),
        (protocol.encode(protocol.ReportBatch(0, 0, [])), "bad_report"),
        (protocol.encode(make_batch(*(make_report(seq=seq) for seq in range(101)))), "bad_report"),
        (protocol.encode(make_batch(make_report(run=2**63))), "bad_report"),
        (protocol.encode(make_batch(make_report(seq=-1))), "bad_report"),
        (protocol.encode(make_batch(make_report(cards=[HEALTHY[:-1]]))), "bad_report"),
        (protocol.encode(make_batch(make_report(cards=[HEALTHY] * 65))), "bad_report"),
        (protocol.encode(make_batch(make_report(inventory="x" * 17))), "bad_report"),
        (protocol.encode(make_batch(make_report(inventory="\0"))), "bad_report"),
        (protocol.encode(make_batch(make_report(cards=[[math.nan] * 10]))), "bad_report"),
        (protocol.encode(make_batch(make_report(leases=[LeaseStatus("a\0b", 1, Phase.RUNNING)]))), "bad_report"),
        (protocol.encode(make_batch(make_report(leases=[LeaseStatus("lse_1", 2**64, Phase.RUNNING)]))), "bad_report"),
        (protocol.encode(protocol.ReportBatch(0, 0, [make_report()], version=2)), "bad_version"),
    ],
)
def test_a_malformed_post_is_a_400_and_stores_nothing(ingest, body, code):
    node, bearer = make_node()
    answer = ingest.post(bearer, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["code"] == code
    assert not Report.objects.filter(node=node).exists()


def test_a_body_that_is_too_large_is_a_413(ingest):
    _, bearer = make_node()
    assert ingest.post(bearer, b" " * (protocol.BODY_BYTES_MAX + 1)).status == 413


def test_an_unknown_bearer_is_a_401_also_when_it_asks_again(ingest):
    for _ in range(2):
        answer = ingest.post("fal_node_nobody", make_batch(make_report()))
        assert (answer.status, json.loads(answer.body)["code"]) == (401, "unauthorised")
    assert ingest.request("POST", protocol.REPORTS_PATH).status == 401


def test_a_quarantined_node_still_reports_and_a_retired_one_may_not(ingest):
    _, bearer = make_node(state=NodeState.QUARANTINED)
    assert ingest.post(bearer, make_batch(make_report())).status == 202
    _, bearer = make_node(state=NodeState.RETIRED)
    assert ingest.post(bearer, make_batch(make_report())).status == 401


def test_a_bearer_stops_working_soon_after_its_node_is_retired(ingest):
    node, bearer = make_node()
    assert ingest.post(bearer, make_batch(make_report())).status == 202
    type(node).objects.filter(pk=node.pk).update(state=NodeState.RETIRED)
    until(lambda: ingest.post(bearer, make_batch(make_report(seq=2))).status == 401)


def test_the_reply_carries_what_is_wanted_of_the_node(ingest):
    node, bearer = make_node(is_draining=True)
    for number, (wanted, seen) in enumerate(
        [(Wanted.RUN, Seen.NONE), (Wanted.RUN, Seen.EXITED), (Wanted.STOP, Seen.RUNNING), (Wanted.STOP, Seen.EXITED)]
    ):
        Assignment.objects.create(
            node=node,
            holder=f"lse_{number}",
            wanted=wanted,
            seen=seen,
            epochs={},
            running_epochs={},
            payload=f"payload {number}",
            signature="c2ln",
            created_at=NOON,
        )
    reply = ingest.post(bearer, make_batch(make_report(inventory="ffff"))).reply
    assert [command.payload for command in reply.commands] == ["payload 0", "payload 1", "payload 2"]
    assert reply.draining
    assert reply.inventory_wanted


def test_a_node_that_vanished_does_not_hurt_those_it_shares_a_transaction_with(ingest):
    ghost, ghost_bearer = make_node()
    fleet = [make_node() for _ in range(8)]
    assert ingest.post(ghost_bearer, make_batch(make_report())).status == 202
    NodeReportState.objects.filter(node=ghost).delete()
    type(ghost).objects.filter(pk=ghost.pk).delete()
    answers: list[int] = []
    posts = [
        threading.Thread(target=lambda who=bearer: answers.append(ingest.post(who, make_batch(make_report())).status))
        for bearer in [ghost_bearer, *(bearer for _, bearer in fleet)]
    ]
    for post in posts:
        post.start()
    for post in posts:
        post.join()
    assert answers.count(202) == 8
    assert NodeReportState.objects.filter(node__in=[node for node, _ in fleet]).count() == 8


def test_a_commit_rings_for_those_who_wait_for_reports(ingest):
    _, bearer = make_node()
    rung = threading.Event()

    def listen():
        with Bell("reports") as bell:
            listening.set()
            bell.wait(10)
            rung.set()

    listening = threading.Event()
    waiter = threading.Thread(target=listen)
    waiter.start()
    assert listening.wait(5)
    ingest.post(bearer, make_batch(make_report()))
    assert rung.wait(3)
    waiter.join()


def test_it_says_that_it_is_well_and_since_when(ingest):
    assert json.loads(ingest.request("GET", "/healthz").body) == {"status": "ok"}
    assert ingest.request("GET", "/elsewhere").status == 404
    assert ingest.request("GET", protocol.REPORTS_PATH).status == 405
    until(IngestClock.objects.exists)
    uptime = IngestClock.objects.get()
    assert uptime.up_since_at <= uptime.beat_at
