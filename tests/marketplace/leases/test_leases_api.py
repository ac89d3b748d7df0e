from __future__ import annotations

import pytest

from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def leased(market):
    host = market.host(count=4)
    market.list_cards(host)
    for _ in range(3):
        assert market.order().status_code == 201
    host.run_everything(market.clock.now())
    market.tick()
    return host


def test_only_the_buyer_gets_the_way_in_and_only_the_seller_the_earnings(market):
    leased(market)
    bought, sold = (client.get("/api/v1/leases/").json()["data"][0] for client in (market.buyer, market.seller))
    assert (bought["side"], bought["earned"], bought["ssh"]["user"]) == ("buyer", None, "root")
    assert (sold["side"], sold["ssh"], sold["order"]) == ("seller", None, None)


def test_a_list_costs_the_same_queries_however_long(market, django_assert_max_num_queries):
    leased(market)
    with django_assert_max_num_queries(8):
        assert len(market.buyer.get("/api/v1/leases/").json()["data"]) == 3


def test_the_numbers_behind_the_charge_are_shown(market):
    host = leased(market)
    market.run_for(120, host)
    lease = market.buyer.get("/api/v1/leases/").json()["data"][0]
    usage = market.buyer.get(f"/api/v1/leases/{lease['id']}/usage/").json()
    assert usage["gpu_ms"] == 115_000
    assert usage["charged"]["amount"] == "0.012777"
