"""What a round reads."""

from __future__ import annotations

import pytest

from marketplace.book.models import Round
from marketplace.leases.models import Lease
from marketplace.matching.rounds import run_due_round
from tests.market import Market

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
