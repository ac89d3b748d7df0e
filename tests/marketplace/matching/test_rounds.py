"""What a round reads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.accounts.models import Firm
from marketplace.book.models import Round
from marketplace.compliance.models import ComplianceDecision
from marketplace.leases.models import Lease
from marketplace.leases.services.reserving import Terms, reserve_lease
from marketplace.ledger.selectors import wallet_balances
from marketplace.matching.rounds import run_due_round, run_round
from marketplace.orders.models import Order
from nodes.models import Node
from nodes.services.claims import CardsTaken
from nodes.states import NodeState
from tests.market import USD, Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def test_a_round_reads_no_ask_that_no_order_names(market):
    market.list_cards(market.host(gpu="a100-sxm4-40gb", count=1))
    market.list_cards(market.host(count=1))
    assert Round.objects.latest("pk").ask_count == 0
    assert market.order().status_code == 201
    assert list(Round.objects.order_by("pk").values_list("bid_count", "ask_count"))[-1] == (1, 1)


def test_supply_of_another_model_wakes_no_standing_order_and_its_own_does(market):
    assert market.order(time_in_force="gtc").json()["state"] == "open"
    rounds = Round.objects.count()
    market.list_cards(market.host(gpu="a100-sxm4-40gb", count=1))  # runs a round for the listing's message
    assert Round.objects.count() == rounds + 1
    assert run_due_round(now=market.clock.now()) is None
    market.list_cards(market.host(count=1))
    assert Lease.objects.count() == 1


def test_a_firm_that_the_rules_no_longer_allow_gets_its_money_back_instead_of_a_lease(market):
    order = market.order(time_in_force="gtc").json()["id"]
    Firm.objects.filter(pk=market.bob.pk).update(headquarters_country="KP")
    market.list_cards(market.host())
    answer = market.buyer.get(f"/api/v1/orders/{order}/").json()
    assert (answer["state"], answer["end_reason"]) == ("rejected", "not_allowed")
    assert wallet_balances(market.bob)[0].available_micros == 100 * USD
    assert ComplianceDecision.objects.latest("pk").outcome == "block"
    assert not Lease.objects.exists()


def test_nothing_is_rented_from_a_firm_that_the_rules_no_longer_allow(market):
    Firm.objects.filter(pk=market.alice.pk).update(ultimate_parent_country="KP")
    market.list_cards(market.host())
    assert market.order().json()["state"] == "open"
    Firm.objects.filter(pk=market.alice.pk).update(ultimate_parent_country="DE")
    run_round(now=market.clock.now())
    assert Lease.objects.count() == 1


@pytest.mark.parametrize("state", [NodeState.RETIRED, NodeState.QUARANTINED])
def test_no_lease_lands_on_a_node_that_has_gone_since_the_round_read_it(market, state):
    host = market.host()
    listing = market.list_cards(host)
    order = Order.objects.get(public_id=market.order(gpu=["rtx-4090"]).json()["id"])
    now = market.clock.now()
    terms = Terms(
        listing=listing,
        node=host.node,
        gpu="h100-sxm5-80gb",
        card_ids=[host.cards[0].pk],
        price_micros_per_gpu_hour=1,
        claim_start=now,
        claim_end=now + timedelta(hours=1),
    )
    Node.objects.filter(pk=host.node.pk).update(state=state)
    with pytest.raises(CardsTaken):
        reserve_lease(order=order, terms=terms, now=now)
    assert not Lease.objects.exists()
