"""A new node earns only after a lease of the platform's own has run on it."""

from __future__ import annotations

import pytest

from marketplace.events.models import Event
from marketplace.leases.models import Lease, ProvingLease
from marketplace.ledger.models import Journal
from nodes.agent.protocol import FailureReason, Phase
from nodes.models import Claim, Node, RelayPort
from tests.market import Market
from tests.newcomers import UNTIL_IDLE, Newcomer
from tests.nodes.builders import card_identity, make_inventory

pytestmark = pytest.mark.django_db
GPU = {"gpu": ["rtx-4090"], "duration_seconds": 3600}


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


@pytest.fixture
def host(market) -> Newcomer:
    """Enrolled, idle and listed."""
    host = Newcomer(market)
    host.be_quiet(UNTIL_IDLE)
    market.list_cards(host)
    return host


def offers(market):
    return market.buyer.get("/api/v1/offers/").json()["data"]


def told(host):
    kinds = ("node.proven", "node.proving_failed", "node.proving_interrupted", "node.unproven")
    return list(Event.objects.filter(subject=host.node.public_id, type__in=kinds).values_list("type", "reason"))


def prove(host):
    host.run()
    host.be_quiet(60)
    host.stop()


def test_a_new_node_is_offered_once_a_lease_of_the_platforms_own_has_run_on_it(market, host):
    journals = Journal.objects.count()
    assert (offers(market), host.shown()["proven_at"]) == ([], None)
    assert host.shown()["proving"]["state"] == "waiting"
    waiting = market.order(**GPU).json()
    assert waiting["state"] == "open"
    journals += 1  # its escrow
    assert host.shown()["proving"]["state"] == "running"
    command = host.command
    assert (command.wanted, len(command.epochs), command.spec.image) == ("run", 1, "docker.io/library/debian:12-slim")
    assert command.lease.startswith("prv_")

    host.run()
    assert ProvingLease.objects.get().state == "active"
    host.be_quiet(60)
    assert host.command.wanted == "stop"
    assert (offers(market), host.shown()["proven_at"]) == ([], None)  # the card is not clean yet
    host.stop()
    assert host.shown()["proven_at"] and host.shown()["proving"] is None
    assert told(host) == [("node.proven", "")]
    assert ProvingLease.objects.get().state == "ended"
    assert not Lease.objects.exists() and Journal.objects.count() == journals

    host.be_quiet(15)
    lease = Lease.objects.get()
    assert (lease.order.public_id, lease.node) == (waiting["id"], host.node)
    assert ProvingLease.objects.count() == 1


def test_nobodys_container_runs_on_a_host_whose_owner_lists_nothing(market):
    host = Newcomer(market)
    host.be_quiet(UNTIL_IDLE)
    market.tick()
    assert not ProvingLease.objects.exists()
    listing = market.list_cards(host)
    market.tick()
    assert ProvingLease.objects.get().node == host.node
    assert listing.state == "open"


def test_a_start_that_fails_is_told_and_tried_again_later_each_time(market, host):
    market.tick()
    for waits, number in ((60, 1), (300, 2)):
        host.say(Phase.FAILED, reason=FailureReason.GPU_NOT_VISIBLE, detail="inside are none", memory_at_baseline=True)
        proving = host.shown()["proving"]
        assert (proving["state"], proving["failures"]) == ("failed", number)
        assert (proving["reason"], proving["detail"]) == ("gpu_not_visible", "inside are none")
        assert offers(market) == []
        host.be_quiet(waits - 5)
        assert ProvingLease.objects.count() == number
        host.be_quiet(5)
        assert ProvingLease.objects.count() == number + 1
        assert host.shown()["proving"]["state"] == "running"
    prove(host)
    assert told(host) == [("node.proving_failed", "gpu_not_visible")] * 2 + [("node.proven", "")]
    host.be_quiet(15)
    assert [each["node"]["id"] for each in offers(market)] == [host.node.public_id]


def test_an_owner_who_has_put_it_right_need_not_wait(market, host):
    market.tick()
    host.say(Phase.FAILED, reason=FailureReason.ENGINE_UNAVAILABLE, memory_at_baseline=True)
    host.be_quiet(15)
    assert ProvingLease.objects.count() == 1
    path = f"/api/v1/nodes/{host.node.public_id}/prove/"
    for _ in range(2):
        assert market.seller.post(path).json()["proving"]["failures"] == 1
    market.tick()
    assert ProvingLease.objects.count() == 2
    prove(host)
    refused = market.seller.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_proven")


@pytest.mark.parametrize("is_running", [False, True])
def test_the_owner_takes_the_card_back_and_it_is_held_against_nobody(market, host, is_running):
    market.tick()
    if is_running:
        host.run()
    host.be_quiet(5, owner_processes=1.0)
    lease = ProvingLease.objects.get()
    assert (lease.state, lease.end_reason) == ("ending" if is_running else "failed", "owner_reclaimed")
    assert host.command.wanted == "stop"
    host.stop()
    assert told(host) == [("node.proving_interrupted", "owner_reclaimed")]
    assert host.shown()["proving"]["failures"] == 0
    assert not Claim.objects.filter(period__contains=market.clock.now()).exists()
    host.be_quiet(120, owner_processes=1.0)
    assert ProvingLease.objects.count() == 1
    host.be_quiet(UNTIL_IDLE)
    assert ProvingLease.objects.count() == 2
    prove(host)
    assert host.shown()["proven_at"]


def test_stop_now_on_the_host_is_the_owners_word_too(market, host):
    market.tick()
    host.run()
    host.say(Phase.STOPPED, reason=FailureReason.OWNER_STOPPED, memory_at_baseline=True)
    assert ProvingLease.objects.get().end_reason == "owner_reclaimed"
    assert (host.shown()["proven_at"], host.shown()["proving"]["failures"]) == (None, 0)


def test_a_card_that_is_not_given_back_clean_proves_nothing(market, host):
    market.tick()
    host.run()
    host.be_quiet(60)
    host.say(Phase.STOPPED, memory_at_baseline=False)
    assert host.shown()["proving"]["state"] == "running"
    host.be_quiet(900)
    assert ProvingLease.objects.latest("pk").end_reason == "not_cleaned"
    assert host.shown()["proving"]["reason"] == "not_cleaned"
    assert told(host) == [("node.proving_failed", "not_cleaned")]
    assert not RelayPort.objects.exclude(holder="").exists()


def test_a_card_that_left_the_host_meanwhile_proves_nothing(market, host):
    market.tick()
    host.run()
    host.take_inventory(make_inventory(card_identity()))
    host.be_quiet(60)
    host.stop()
    lease = ProvingLease.objects.first()
    assert (lease.state, lease.end_reason, lease.cards_freed_at) == ("ended", "card_unhealthy", market.clock.now())
    assert (host.shown()["proven_at"], host.shown()["proving"]["failures"]) == (None, 1)


def test_a_node_of_which_the_cards_are_swapped_must_show_it_anew(market, host):
    market.tick()
    prove(host)
    host.be_quiet(15)
    assert len(offers(market)) == 1
    other = Newcomer(market, count=1)
    Node.objects.filter(pk=other.node.pk).update(state="lost")
    host.take_inventory(other.inventory)
    assert host.shown()["proven_at"] is None
    assert told(host)[-1] == ("node.unproven", "other_cards")
    assert offers(market) == []
