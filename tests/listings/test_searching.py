"""What a search answers: only what can be rented, page by page, also over several nodes, and as a round would fill it."""

from __future__ import annotations

import pytest

from nodes.models import Node
from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def offers(market, **query):
    answer = market.buyer.get("/api/v1/offers/", query)
    assert answer.status_code == 200, answer.json()
    return answer.json()


def test_a_host_that_can_start_nothing_is_neither_offered_nor_matched(market):
    market.list_cards(host := market.host(count=1))
    Node.objects.filter(pk=host.node.pk).update(runtime="none")
    assert offers(market)["data"] == []
    assert market.order().json()["state"] == "open"
