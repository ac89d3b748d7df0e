"""A seller who can't ship to an address says so, and its buyer corrects it in time or the sale ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict, NotFound
from marketplace.sales.models import Sale
from marketplace.sales.serializers import sale_json
from marketplace.sales.services.addresses import answer_address, question_address
from marketplace.sales.services.relisting import offer_again
from marketplace.sales.services.silences import advance_sales
from tests.cards import buy, list_for_sale, make_lab, measure_for, ship
from tests.factories import NOON, api_of, make_firm

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BETTER = "2 rue de la Carte, 75002 Paris"


@pytest.fixture
def sale(deal):
    return buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON)[0]


def the(sale):
    return Sale.objects.get(pk=sale.pk)


def ask(deal, sale, now, firm=None):
    firm = firm or deal.alice
    return question_address(firm=firm, public_id=sale.public_id, reason="no such street", actor="t", now=now)


def answer(deal, sale, now, firm=None, address=BETTER):
    return answer_address(firm=firm or deal.bob, public_id=sale.public_id, address=address, actor="t", now=now)


def test_the_ship_clock_waits_for_the_buyer_and_starts_anew_with_the_answer(deal, sale):
    due = sale.deadline_at
    ask(deal, sale, due - HOUR)
    assert the(sale).deadline_at > due
    advance_sales(now=due)
    shown = sale_json(the(sale), deal.bob)
    assert (shown["step"], shown["turn"], shown["address_question"]) == ("address_asked", "buyer", "no such street")
    answer(deal, sale, due)
    shown = sale_json(the(sale), deal.alice)
    assert (shown["step"], shown["turn"], shown["address"], shown["address_question"]) == (
        "to_ship", "seller", BETTER, None
    )  # fmt: skip
    assert the(sale).ships_to == "FR"
    advance_sales(now=the(sale).deadline_at)
    assert (the(sale).end_reason, the(sale).credit_micros > 0) == ("not_shipped", True)


def test_a_buyer_who_does_not_answer_has_the_money_back_and_the_card_is_for_sale_again(deal, sale):
    ask(deal, sale, NOON + HOUR)
    advance_sales(now=the(sale).deadline_at)
    assert (the(sale).state, the(sale).end_reason, the(sale).credit_micros) == ("cancelled", "address_silent", 0)
    assert the(sale).refunded_micros == sale.price.total_micros
    assert offer_again(now=NOON + 4 * DAY) == 1
    with pytest.raises(Conflict):
        answer(deal, sale, NOON + 4 * DAY)


def test_only_the_seller_asks_only_twice_and_only_before_it_is_shipped(deal, sale):
    with pytest.raises(Conflict):
        ask(deal, sale, NOON, firm=deal.bob)
    with pytest.raises(NotFound):
        ask(deal, sale, NOON, firm=make_firm())
    for _ in range(2):
        ask(deal, sale, NOON)
        with pytest.raises(Conflict):  # who asks does not answer
            answer(deal, sale, NOON, firm=deal.alice)
        with pytest.raises(Conflict):
            ask(deal, sale, NOON)
        answer(deal, sale, NOON)
    with pytest.raises(Conflict):
        ask(deal, sale, NOON)
    ship(sale, now=NOON)
    for act in (ask, answer):
        with pytest.raises(Conflict):
            act(deal, sale, NOON)


def test_a_seller_who_asked_may_ship_all_the_same_and_a_buyer_who_has_it_measures(deal):
    one, two = buy(deal.bob, list_for_sale(deal.host.cards[:2], now=NOON), now=NOON, count=2)
    for each in (one, two):
        ask(deal, each, NOON)
    assert ship(one, now=NOON).state == "shipped"
    assert sale_json(the(one), deal.bob)["address_question"] is None
    assert measure_for(two, now=NOON).state == "released"
    assert the(two).bid.address == the(one).buyers_address == "1 rue de la Carte, Paris"


def test_who_sends_to_a_lab_does_not_ask_about_the_buyers_address(deal):
    make_lab(make_firm("Lab"))
    (sale,) = buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, route="lab")
    with pytest.raises(Conflict):
        ask(deal, sale, NOON)


def test_over_http(deal, sale, frozen):
    seller, buyer = api_of(deal.alice), api_of(deal.bob)
    path = f"/api/v1/sales/{sale.public_id}"
    asked = seller.post(f"{path}/question-address/", {"reason": "no street"}, format="json")
    assert (asked.status_code, asked.json()["step"]) == (200, "address_asked")
    abroad = buyer.post(f"{path}/address/", {"address": BETTER, "ships_to": "DE"}, format="json")
    assert (abroad.status_code, abroad.json()["errors"][0]["pointer"]) == (400, "/ships_to")
    answered = buyer.post(f"{path}/address/", {"address": BETTER}, format="json").json()
    assert (answered["step"], answered["address"]) == ("to_ship", BETTER)
