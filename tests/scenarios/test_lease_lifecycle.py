"""The whole path of one lease, as the buyer and the seller live through it."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from marketplace.leases.models import Lease
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros, wallet_balances
from nodes.agent.protocol import FailureReason, Phase
from nodes.models import Claim, Node
from nodes.relay.probe import ProbeFailed
from nodes.states import NodeState
from tests.market import USD, Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def money(firm):
    (balances,) = wallet_balances(firm)
    return balances.available_micros, balances.reserved_micros, balances.earnings_micros


def started(market, **order):
    host = market.host()
    market.list_cards(host)
    response = market.order(**order)
    assert response.status_code == 201, response.json()
    host.report(market.clock.now())
    host.run_everything(market.clock.now())
    market.tick()
    host.report(market.clock.now())
    return host, Lease.objects.get()


def test_ten_hours_at_forty_cents_cost_four_dollars_and_pay_three_eighty(market):
    host, lease = started(market)
    assert lease.state == "active"
    assert money(market.bob) == (96 * USD, 4 * USD, 0)  # the rest of the cap of 0.50 is back at once
    market.run_for(36_000, host, step=15, tick_every=600)
    host.stop_everything(market.clock.now())
    market.tick()
    lease.refresh_from_db()
    assert (lease.state, lease.end_reason) == ("ended", "window_over")
    assert lease.gpu_ms == 36_000_000
    assert money(market.bob) == (96 * USD, 0, 0)
    assert money(market.alice) == (0, 0, 3_800_000)
    assert balance_micros(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD") == 200_000
    assert not Claim.objects.filter(period__contains=market.clock.now()).exists()
    call_command("audit_ledger", verbosity=0)


def test_the_buyer_may_end_early_and_pays_for_what_was_used(market):
    host, lease = started(market)
    market.run_for(3_600, host, step=15, tick_every=600)
    response = market.end(lease)
    assert response.status_code == 200
    host.stop_everything(market.clock.now())
    market.tick()
    lease.refresh_from_db()
    assert (lease.state, lease.end_reason) == ("ended", "buyer_ended")
    assert money(market.bob) == (100 * USD - 400_000, 0, 0)
    assert money(market.alice) == (0, 0, 380_000)


def test_ending_it_again_shows_it_as_it_is(market):
    host, lease = started(market)
    market.run_for(3_600, host, step=15, tick_every=600)
    missing = market.buyer.post(f"/api/v1/leases/{lease.public_id}/end/")
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")
    assert market.end(lease, key="a").json()["state"] == "ending"
    host.stop_everything(market.clock.now())
    market.tick()
    for key in ("a", "b"):
        answer = market.end(lease, key=key)
        assert (answer.status_code, answer.json()["state"]) == (200, "ended")
    assert money(market.alice) == (0, 0, 380_000)


def test_it_cannot_be_ended_before_its_shortest_duration(market):
    host, lease = started(market)
    market.run_for(30, host)
    response = market.end(lease)
    assert (response.status_code, response.json()["code"]) == (409, "shortest_duration")


def test_silence_is_never_charged_and_past_grace_it_ends_the_lease(market):
    host, lease = started(market)
    market.run_for(600, host)
    market.clock.advance(301)
    Node.objects.filter(pk=host.node.pk).update(state=NodeState.LOST)
    market.tick()
    lease.refresh_from_db()
    assert (lease.state, lease.end_reason) == ("ending", "node_lost")
    market.clock.advance(901)
    market.tick()
    lease.refresh_from_db()
    assert lease.state == "ended"
    assert lease.gpu_ms == 600_000
    assert money(market.bob) == (100 * USD - 66_666, 0, 0)


def test_a_node_that_cannot_start_it_costs_nothing_and_the_order_goes_elsewhere(market):
    bad, good = market.host(), market.host()
    market.list_cards(bad, ask=300_000)
    market.list_cards(good, ask=400_000)
    assert market.order().status_code == 201
    bad.ack(market.clock.now(), Phase.FAILED, reason=FailureReason.ENGINE_UNAVAILABLE, memory_at_baseline=True)
    market.tick()
    market.tick()
    failed, retried = Lease.objects.order_by("pk")
    assert (failed.state, failed.end_reason, failed.settled_micros) == ("failed", "start_failed", 0)
    assert (retried.state, retried.node) == ("starting", good.node)
    assert money(market.bob) == (95 * USD, 5 * USD, 0)


def test_the_buyers_own_broken_image_ends_it_and_returns_the_money(market):
    host = market.host()
    market.list_cards(host)
    market.order()
    host.ack(market.clock.now(), Phase.FAILED, reason=FailureReason.IMAGE_NOT_FOUND, memory_at_baseline=True)
    market.tick()
    lease = Lease.objects.get()
    assert (lease.state, lease.end_reason) == ("failed", "workload_failed")
    assert money(market.bob) == (100 * USD, 0, 0)
    assert not Claim.objects.exists()


def test_a_lease_is_not_charged_before_the_probe_reaches_it(market):
    host = market.host()
    market.list_cards(host)
    market.order()
    host.run_everything(market.clock.now())

    def nobody_answers(*_):
        raise ProbeFailed("nobody answers")

    market.tick(probe=nobody_answers)
    assert Lease.objects.get().state == "starting"
    market.clock.advance(601)
    market.tick(probe=nobody_answers)
    lease = Lease.objects.get()
    assert (lease.state, lease.end_reason) == ("failed", "start_timed_out")
