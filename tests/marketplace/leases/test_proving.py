"""Proving leases among many nodes: who gets one, why one ends, and that none is given twice."""

from __future__ import annotations

import importlib
import threading
from datetime import timedelta

import pytest
from django.apps import apps
from django.db import connections

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.leases.models import Lease, ProvingLease
from marketplace.leases.services.proving import place_proving_leases, prove_nodes
from nodes.agent.protocol import AssignmentCommand, FailureReason, Phase, decode
from nodes.models import Assignment, CardState, Claim, Node, NodeProof, RelayPort
from nodes.relay.probe import ProbeFailed
from nodes.services.claims import take_claims
from nodes.services.measuring import check_free
from nodes.services.transfers import may_move
from nodes.states import ClaimKind, NodeState
from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def newcomer(market, *, count=1, **columns):
    """Idle and listed, not proven."""
    host = market.host(count=count, proven_at=None, **columns)
    market.list_cards_without_round(host)
    return host


def only():
    return ProvingLease.objects.get()


def failure(host):
    return NodeProof.objects.get(node=host.node)


def nobody_answers(*_):
    raise ProbeFailed("nobody answers")


def test_it_takes_one_card_for_as_long_as_it_may_need_it(market):
    host = newcomer(market, count=4)
    market.tick()
    claim = Claim.objects.get()
    assert (claim.card, claim.kind, claim.holder) == (host.cards[0], ClaimKind.PROVING, only().public_id)
    assert claim.period.upper == market.clock.now() + timedelta(seconds=600 + 60 + 120)
    host.run_everything(market.clock.now())
    market.tick()
    claim.refresh_from_db()
    assert claim.period.upper == market.clock.now() + timedelta(seconds=60 + 120)


def test_nobody_has_the_key_that_could_log_in(market):
    for _ in range(2):
        newcomer(market)
    market.tick()
    specs = [decode(AssignmentCommand, each.payload).spec for each in Assignment.objects.all()]
    keys = {spec.ssh_public_key for spec in specs}
    assert len(keys) == 2 and all(key.startswith("ssh-ed25519 ") for key in keys)
    assert not any(spec.env or spec.command or spec.registry_auth for spec in specs)


@pytest.mark.parametrize(
    "columns", [{"state": NodeState.LOST}, {"is_draining": True}, {"runtime": "none"}, {"state": NodeState.QUARANTINED}]
)
def test_a_node_that_could_run_no_lease_is_left_alone(market, columns):
    host = newcomer(market)
    Node.objects.filter(pk=host.node.pk).update(**columns)
    market.tick()
    assert not ProvingLease.objects.exists()


def test_a_card_that_is_busy_sold_or_free_too_shortly_is_left_alone(market):
    host = newcomer(market, count=3)
    CardState.objects.filter(card=host.cards[0]).update(availability="owner_used")
    now = market.clock.now()
    take_claims(cards=[host.cards[1].pk], start=now, end=None, kind=ClaimKind.SALE, holder="sale_1")
    soon = now + timedelta(seconds=779)
    take_claims(cards=[host.cards[2].pk], start=soon, end=None, kind=ClaimKind.SALE, holder="sale_2")
    market.tick()
    assert not ProvingLease.objects.exists()
    Claim.objects.filter(holder="sale_2").delete()
    market.tick()
    assert only().card == host.cards[2]


def test_without_proving_every_node_is_offered_at_once(market, settings):
    settings.PROVING_LEASE_SECONDS = 0
    host = newcomer(market)
    assert market.order().status_code == 201
    assert Lease.objects.get().node == host.node
    assert not ProvingLease.objects.exists()
    node = market.seller.get(f"/api/v1/nodes/{host.node.public_id}/").json()
    assert (node["proven_at"], node["proving"]) == (None, None)


def test_one_that_runs_when_proving_is_switched_off_still_ends(market, settings):
    host = newcomer(market)
    market.tick()
    settings.PROVING_LEASE_SECONDS = 0
    host.run_everything(market.clock.now())
    market.tick()
    market.run_for(60, host)
    host.stop_everything(market.clock.now())
    market.tick()
    assert only().state == "ended"
    assert not Claim.objects.filter(period__contains=market.clock.now()).exists()


def test_a_container_that_nobody_reaches_times_out(market):
    host = newcomer(market)
    market.tick()
    host.run_everything(market.clock.now())
    market.tick(probe=nobody_answers)
    host.report(market.clock.advance(600))
    market.tick(probe=nobody_answers)
    assert (only().state, only().end_reason) == ("failed", "start_timed_out")
    assert failure(host).detail == "the last that the host said of it: running"
    host.stop_everything(market.clock.now())
    market.tick()
    assert only().cards_freed_at


def test_a_node_that_falls_silent_has_proved_nothing(market):
    host = newcomer(market)
    market.tick()
    host.run_everything(market.clock.now())
    market.tick()
    Node.objects.filter(pk=host.node.pk).update(state=NodeState.LOST)
    market.tick()
    assert (only().state, failure(host).reason, failure(host).failures) == ("ending", "node_lost", 1)
    market.clock.advance(900)
    market.tick()
    assert (only().state, Node.objects.get(pk=host.node.pk).proven_at) == ("ended", None)
    assert not RelayPort.objects.exclude(holder="").exists()


def test_a_container_that_ends_by_itself_has_failed_also_in_its_last_second(market):
    host = newcomer(market)
    market.tick()
    host.run_everything(market.clock.now())
    market.tick()
    host.report(market.clock.advance(60))
    host.ack(market.clock.now(), Phase.STOPPED, reason=FailureReason.WORKLOAD_EXITED, memory_at_baseline=True)
    market.tick()
    assert (only().state, only().end_reason, failure(host).reason) == ("ended", "workload_failed", "workload_exited")
    assert Node.objects.get(pk=host.node.pk).proven_at is None


def test_other_cards_inside_are_a_failure(market):
    host = newcomer(market)
    market.tick()
    host.ack(market.clock.now(), Phase.RUNNING, gpus_seen=["GPU-other"], ssh_host_key="ssh-ed25519 AAAA")
    market.tick()
    assert (only().state, failure(host).reason) == ("failed", "gpu_not_visible")


def test_without_a_port_of_the_relay_nothing_is_begun_and_nothing_is_held_against_the_node(market):
    host = newcomer(market)
    RelayPort.objects.update(holder="lse_1")
    market.tick()
    assert not ProvingLease.objects.exists() and not Claim.objects.exists() and not NodeProof.objects.exists()
    RelayPort.objects.update(holder="")
    market.tick()
    assert only().node == host.node


def test_while_it_runs_nobody_measures_its_card_and_it_moves_to_no_other_host(market):
    host, other = newcomer(market), market.host()
    now = market.clock.now()
    check_free(host.cards[0], now, now)
    assert may_move(host.cards[0], other.node, now)
    market.tick()
    with pytest.raises(Conflict):
        check_free(host.cards[0], now, now)
    assert not may_move(host.cards[0], other.node, now)


def test_a_second_look_changes_nothing(market):
    host = newcomer(market)
    for _ in range(3):
        market.tick()
    host.run_everything(market.clock.now())
    for _ in range(3):
        market.tick()
    market.run_for(60, host)
    host.stop_everything(market.clock.now())
    for _ in range(3):
        prove_nodes(now=market.clock.now())
    assert Event.objects.filter(type="node.proven").count() == 1
    assert Assignment.objects.count() == 1


def test_nodes_with_a_paid_lease_that_ended_are_proven_by_the_migration(market):
    kept, untried = market.host(), market.host(gpu="rtx-4090")
    market.list_cards(kept)
    market.order(duration_seconds=60)
    kept.report(market.clock.now())
    kept.run_everything(market.clock.now())
    market.tick()
    market.run_for(60, kept)
    kept.stop_everything(market.clock.now())
    market.tick()
    Node.objects.update(proven_at=None)
    importlib.import_module("marketplace.leases.migrations.0005_nodes_with_ended_leases_are_proven").prove_nodes(
        apps, None
    )
    assert Node.objects.get(pk=kept.node.pk).proven_at == Lease.objects.get().closed_at
    assert Node.objects.get(pk=untried.node.pk).proven_at is None


@pytest.mark.django_db(transaction=True)
def test_two_workers_give_each_node_one(market):
    for _ in range(8):
        newcomer(market)
    start, placed = threading.Barrier(2), []

    def place():
        try:
            start.wait()
            placed.append(place_proving_leases(now=market.clock.now()))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=place) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place_proving_leases(now=market.clock.now())
    assert ProvingLease.objects.count() == Assignment.objects.count() == Claim.objects.count() == 8
    assert sum(placed) <= 8
    assert len(set(ProvingLease.objects.values_list("node", flat=True))) == 8
