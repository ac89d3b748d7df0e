"""What the advisor reads of the market for cards: real sales, listings and bids, never the seller's own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from listings.cards.services import pause_card_listing
from marketplace.accounts.models import Firm
from marketplace.accounts.services import add_member
from nodes.models import Card
from tests.cards import USD, bid, buy, list_for_sale, measure_for, ship
from tests.factories import NOON, api_of, fund, make_firm, make_person
from tests.hosts import Host
from tests.marketplace.sales.conftest import _photos_and_rules, deal  # noqa: F401

pytestmark = pytest.mark.django_db
SLUG = "h100-sxm5-80gb"


def advice(firm, **query):
    (kind,) = api_of(firm).get("/api/v1/advisor/", query).json()["fleet"]
    told = {each["name"]: each["value"] for each in kind["assumptions"]}
    return kind, told


@pytest.fixture
def seller(frozen):
    """Who has such cards and asks."""
    firm = make_firm()
    return Host(firm, NOON, count=2).node.firm


def test_sales_whose_money_was_released_make_the_guide(deal, seller, frozen):  # noqa: F811
    for price in (20_000, 20_100, 20_200, 20_300, 20_400, 20_500):
        buyer, card = make_firm(), Host(deal.alice, NOON, count=1).cards[0]
        fund(buyer, 30_000 * USD)
        (sale,) = buy(buyer, list_for_sale([card], now=NOON, ask=price * USD), now=NOON)
        ship(sale, now=NOON + timedelta(hours=1))
        sale = measure_for(sale, now=NOON + timedelta(hours=9))
        assert sale.state == "released"
    frozen.advance(10 * 3600)
    kind, told = advice(seller)
    assert kind["guide"]["basis"] == "based on 6 sales, updated 2026-11-23"
    assert (told["card_value"], told["sold_30_days"]) == ("20200.000000", "6")
    assert float(told["card_spread"]) > 0
    assert advice(seller, card_value="25000")[1]["card_spread"] == "0"
    guide = {"kind": "card", "grade_function": "F1", "grade_appearance": "good"}
    for region, pooled in (("eu", []), ("us", ["region"])):
        told = APIClient().get(f"/api/v1/market/{SLUG}/guide/", guide | {"region": region}).json()["guide"]
        assert (told["method"], told["sales"], told["any"]) == ("sales", 6, pooled)
        assert told["p50"] == {"amount": "20200.000000", "currency": "USD"}


@pytest.mark.parametrize("link", ["owner", "parent", "is the parent", "name"])
def test_what_linked_firms_sell_each_other_is_no_price(deal, seller, frozen, link):  # noqa: F811
    owner = make_person(deal.alice)
    buyers = [make_firm(f"Buyer {number}") for number in range(12)]
    Firm.objects.filter(pk=deal.alice.pk).update(ultimate_parent="Corncrake Holding")
    for number, buyer in enumerate(buyers):
        price = 20_000 + 100 * number
        if number % 2:
            price += 9_000
            _link(buyer, deal.alice, owner, link)
        fund(buyer, 40_000 * USD)
        card = Host(deal.alice, NOON, count=1).cards[0]
        (sale,) = buy(buyer, list_for_sale([card], now=NOON, ask=price * USD), now=NOON)
        ship(sale, now=NOON + timedelta(hours=1))
        assert measure_for(sale, now=NOON + timedelta(hours=9)).state == "released"
    frozen.advance(10 * 3600)
    guide = APIClient().get(f"/api/v1/market/{SLUG}/guide/", {"kind": "card"}).json()["guide"]
    assert (guide["sales"], guide["sales_between_linked_firms"], guide["p75"]["amount"]) == (6, 6, "20800.000000")
    assert guide["basis"] == "based on 6 sales, updated 2026-11-23, 6 left out as between linked firms"
    assert advice(seller)[1]["sold_30_days"] == "6"


def _link(buyer, firm, owner, how):
    match how:
        case "owner":
            add_member(firm=buyer, user=owner, role="owner", actor="test", now=NOON)
        case "parent":
            Firm.objects.filter(pk=buyer.pk).update(ultimate_parent="CORNCRAKE  Holding.")
        case "is the parent":
            Firm.objects.filter(pk=buyer.pk).update(name="Corncrake holding")
        case "name":
            Firm.objects.filter(pk=buyer.pk).update(name=firm.name.upper())


def test_the_guide_is_kept_until_another_sale_is_released(deal, frozen, django_assert_num_queries):  # noqa: F811
    client, address = APIClient(), f"/api/v1/market/{SLUG}/guide/"
    buyers = [make_firm() for _ in range(7)]

    def sell(buyer, price):
        fund(buyer, 40_000 * USD)
        (sale,) = buy(buyer, list_for_sale(Host(deal.alice, NOON, count=1).cards, now=NOON, ask=price), now=NOON)
        ship(sale, now=NOON + timedelta(hours=1))
        measure_for(sale, now=NOON + timedelta(hours=9))

    for number, buyer in enumerate(buyers[:6]):
        sell(buyer, (20_000 + number) * USD)
    frozen.advance(10 * 3600)
    first = client.get(address, {"kind": "card"}).json()["guide"]
    with django_assert_num_queries(2):  # the model, and whether there are other sales
        assert client.get(address, {"kind": "card"}).json()["guide"] == first
    with django_assert_num_queries(2):
        assert client.get(address, {"kind": "card", "region": "us"}).json()["guide"]["any"] == ["region"]
    sell(buyers[6], 20_010 * USD)
    assert client.get(address, {"kind": "card"}).json()["guide"]["sales"] == 7


def test_sales_that_are_not_finished_say_nothing(deal, seller):  # noqa: F811
    buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON)
    kind, told = advice(seller)
    assert (kind["guide"], told["sold_30_days"], told["on_offer"]) == (None, "0", "0")
    assert Card.objects.filter(firm=deal.alice).count() == 3
    sellers_own, _ = advice(deal.alice)
    assert sellers_own["cards"] == 2  # the third is promised


def test_offers_and_bids_of_others_are_the_book(deal, seller):  # noqa: F811
    listing = list_for_sale(deal.host.cards, now=NOON, ask=3_000 * USD)
    bid(deal.bob, deal.host.cards[0], now=NOON, limit=900 * USD, count=2)
    bid(deal.bob, deal.host.cards[0], now=NOON, limit=1_100 * USD)
    _, told = advice(seller)
    assert told["on_offer"] == "3"
    assert advice(deal.alice)[1]["on_offer"] == "0"
    kind, _ = advice(seller, card_value="1500", rent_price="0.01")
    assert kind["bids"] == {
        "cards": 2,
        "filled": 2,
        "average": {"amount": "1000.000000", "currency": "USD"},
        "worst": {"amount": "900.000000", "currency": "USD"},
    }
    pause_card_listing(firm=deal.alice, public_id=listing.public_id, actor="test", now=NOON)
    assert advice(seller)[1]["on_offer"] == "0"
