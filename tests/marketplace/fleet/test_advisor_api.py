"""The advisor over HTTP: measured use, the market's prices, every assumption, and nobody else's cards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from marketplace.book.models import Round, Trade
from marketplace.fleet.assumptions import KINDS
from marketplace.fleet.models import CardHour
from nodes.models import Card, Claim
from tests.factories import NOON, api_of, make_firm
from tests.hosts import Host

pytestmark = pytest.mark.django_db
USD = 1_000_000
ILLUSTRATED = {
    "monthly_decline": "0.03",
    "money_cost": "0.01",
    "selling_cost": "0.08",
    "rent_price": "0.35",
    "platform_fee": "0.15",
    "energy_price": "0.08",
    "pue": "1.3",
    "load_watts": "425",
    "idle_watts": "25",
    "fixed_cost": "5.00",
}


@dataclass
class Fleet:
    """Two 48 GB and two 24 GB cards of one firm, used alike."""

    firm: object
    client: APIClient
    large: list
    small: list

    def advice(self, **query):
        answer = self.client.get("/api/v1/advisor/", query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    def kind(self, memory_mib, **query):
        return next(each for each in self.advice(**query)["fleet"] if each["memory_mib"] == memory_mib)


def use_hours(cards, *, leased=0.0, owner=0.0, hours=100, power=60.0):
    CardHour.objects.bulk_create(
        CardHour(
            card=card, firm=card.firm, hour_at=NOON - timedelta(hours=number + 1), seen_seconds=3600,
            leased_seconds=round(3600 * leased), owner_seconds=round(3600 * owner),
            idle_seconds=round(3600 * (1 - leased - owner)), utilisation_percent=100 * (leased + owner), power_w=power,
        )
        for card in cards
        for number in range(hours)
    )  # fmt: skip


def make_fleet():
    firm = make_firm("Story")
    large, small = (Host(firm, NOON, gpu="rtx-4090-d", count=2).cards for _ in range(2))
    Card.objects.filter(pk__in=[card.pk for card in large]).update(memory_mib=49_140, is_modified=True)
    return Fleet(firm, api_of(firm), list(Card.objects.filter(memory_mib=49_140)), small)


@pytest.fixture
def fleet(frozen):
    return make_fleet()


def trade(card, price, *, hours=10, at=NOON - timedelta(days=2), currency="USD"):
    found = Round.objects.create(
        at=at, message_count=0, bid_count=0, ask_count=0, fill_count=1,
        supply_fingerprint="", input_hash="", output_hash="",
    )  # fmt: skip
    Trade.objects.create(
        round=found, at=at, gpu=card.gpu_model.slug, region="eu", currency=currency, card_count=1,
        price_micros_per_gpu_hour=price, duration_seconds=3600 * hours, order="", listing="", lease="",
        cards=[card.pk], buyer_id=1, seller_id=2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("share", "large", "small"), [(0.2, "sell_now", "sell_now"), (0.7, "sell_now", "rent")], ids=["20 %", "70 %"]
)
def test_the_story_from_measured_use(fleet, share, large, small):
    use_hours([*fleet.large, *fleet.small], leased=share)
    dear = fleet.kind(49_152, card_value="4500", **ILLUSTRATED)
    cheap = fleet.kind(24_576, card_value="2000", **ILLUSTRATED)
    assert (dear["verdict"], cheap["verdict"]) == (large, small)
    assert (round(dear["break_even_share"], 2), round(cheap["break_even_share"], 2)) == (0.92, 0.43)
    assert (dear["modified"], cheap["modified"]) == (True, False)
    assert dear["use"]["leased_seconds"] == 2 * 100 * round(3600 * share)
    lines = {line["symbol"]: line for line in cheap["workings"]}
    assert lines["R"]["numbers"] == "(0.03 + 0.01) × 2000 × (1 − 0.08)"
    assert {each["card"] for each in fleet.advice()["data"]} == {
        card.public_id for card in [*fleet.large, *fleet.small]
    }


def test_every_assumption_is_a_parameter_and_is_told_back_with_its_source(fleet):
    values = {"card_value": "1999.5", "monthly_decline": "-0.02", "horizon_months": "6", "pue": "1.1"}
    told = {each["name"]: each for each in fleet.advice(**values)["data"][0]["assumptions"]}
    assert list(told) == [kind.name for kind in KINDS]
    assert {name: told[name]["value"] for name in values} == values | {"card_value": "1999.500000"}
    assert all(told[name]["origin"] == "given" for name in values)
    assert all(each["source"] for each in told.values())
    again = {name: each["value"] for name, each in told.items() if each["value"] is not None}
    assert fleet.client.get("/api/v1/advisor/", again).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {"colour": "red"}, {"pue": "0.5"}, {"pue": "many"}, {"rented_share": "1.01"}, {"card_value": "0"},
        {"platform_fee": "1"}, {"horizon_months": "0"}, {"monthly_decline": "NaN"}, {"card_value": "9999999"},
        {"load_watts": "-1"}, {"limit": "0"}, {"card_value": "1e3"}, {"cursor": "x"}, {"currency": "XYZ"},
        {"memory_mib": "1"}, {"memory_mib": "9" * 40}, {"rented_share": "0.8", "own_share": "0.3"},
        {"load_watts": "20", "idle_watts": "30"}, {"monthly_decline": "Infinity"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fleet, query):
    answer = fleet.client.get("/api/v1/advisor/", query)
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"] == "bad_cursor") or any(name in str(told["errors"]) for name in query)


def test_a_foreign_card_does_not_exist(fleet):
    stranger = api_of(make_firm())
    assert stranger.get("/api/v1/advisor/", {"card": fleet.large[0].public_id}).status_code == 404
    assert stranger.get("/api/v1/advisor/").json()["data"] == []
    own = fleet.client.get("/api/v1/advisor/", {"card": fleet.large[0].public_id}).json()
    assert [each["card"] for each in own["data"]] == [fleet.large[0].public_id]
    assert [each["cards"] for each in own["fleet"]] == [1]


def test_hours_under_another_owner_are_not_told(fleet):
    use_hours(fleet.small, leased=0.9)
    buyer = make_firm()
    Card.objects.filter(pk=fleet.small[0].pk).update(firm=buyer)
    (row,) = api_of(buyer).get("/api/v1/advisor/").json()["data"]
    assert row["use"]["seen_seconds"] == 0


def test_sold_cards_are_nothing_to_advise_on(fleet):
    Claim.objects.create(card=fleet.small[0], kind="sale", holder="sale_x", period=(NOON, None))
    assert fleet.kind(24_576)["cards"] == 1


def test_the_market_pays_what_was_traded_for_such_cards(fleet):
    for price in (300_000, 340_000, 350_000, 360_000, 9_000_000):
        trade(fleet.small[0], price)
    trade(fleet.large[0], 500_000)
    trade(fleet.small[0], 100_000, at=NOON - timedelta(days=31))
    trade(fleet.small[0], 100_000, currency="EUR")
    price = {each["memory_mib"]: _value(each, "rent_price") for each in fleet.advice()["fleet"]}
    assert price == {24_576: "0.350000", 49_152: "0.500000"}
    source = next(a for a in fleet.kind(24_576)["assumptions"] if a["name"] == "rent_price")["source"]
    assert source == "median of 5 trades over 50 GPU-hours in 30 days"


def _value(judged, name):
    return next(each["value"] for each in judged["assumptions"] if each["name"] == name)


def test_a_card_is_judged_by_its_own_use_once_it_was_watched_for_three_days(fleet):
    use_hours(fleet.small[:1], leased=0.8)
    use_hours(fleet.small[1:], leased=0.1)
    rows = fleet.advice(gpu="rtx-4090-d", memory_mib=24_564, card_value="2000", **ILLUSTRATED)["data"]
    assert [row["verdict"] for row in rows] == ["rent", "sell_now"]
    CardHour.objects.filter(card=fleet.small[1], hour_at__lt=NOON - timedelta(hours=70)).delete()
    rows = fleet.advice(memory_mib=24_564)["data"]
    assert _value(rows[1], "rented_share") == _value(fleet.kind(24_576), "rented_share")


def test_cards_that_were_never_rented_out_take_the_markets_share(fleet):
    use_hours(fleet.small, owner=0.5)
    other = Host(make_firm(), NOON, gpu="rtx-4090-d", count=1)
    use_hours(other.cards, leased=0.6, owner=0.2)
    kind = fleet.kind(24_576)
    # In an hour 1.8 card-hours were free of their owners, ours two halves of it, and 0.6 of them leased: a third.
    assert _value(kind, "rented_share") == "0.1666"
    assert (_value(kind, "own_share"), _value(kind, "idle_watts")) == ("0.5", "25")


def test_many_cards_are_partly_kept_and_sold_slowly(frozen):
    fleet = make_fleet()
    Host(fleet.firm, NOON, gpu="rtx-4090-d", count=8)
    use_hours(list(Card.objects.filter(firm=fleet.firm, memory_mib=24_576)), leased=0.2)
    kind = fleet.kind(24_576, card_value="2000", sold_30_days="6", **ILLUSTRATED)
    assert (kind["cards"], kind["rent_cards"], kind["sell_cards"]) == (10, 4, 6)
    assert kind["pace"]["per_week"] * kind["pace"]["weeks"] >= 6
    assert {"own_impact", "slow_way_back"} <= {each["code"] for each in kind["cautions"]}


def test_rising_prices_are_warned_of(fleet):
    kind = fleet.kind(49_152, card_value="4500", **ILLUSTRATED | {"monthly_decline": "-0.04", "fixed_cost": "0"})
    assert kind["verdict"] in {"keep", "rent"}
    assert [each["code"] for each in kind["cautions"]][:2] == ["prices_rise", "no_way_back"]
    assert "pays 5892.24 (" in kind["cautions"][0]["text"]


def test_the_guide_is_public_and_never_a_naked_number(db, frozen):
    client = APIClient()
    empty = client.get("/api/v1/market/rtx-4090-d/guide/", {"kind": "card"}).json()
    assert (empty["guide"], empty["reason"][:3]) == (None, "too")
    modelled = client.get("/api/v1/market/rtx-4090/guide/", {"kind": "card"}).json()["guide"]
    assert modelled["method"] == "hedonic"
    assert "the launch price of 1599 USD (2022)" in modelled["basis"]
    yuan = client.get("/api/v1/market/rtx-4090-d/guide/", {"kind": "card", "currency": "CNY"}).json()["guide"]
    assert yuan["p50"]["currency"] == "CNY"


@pytest.mark.parametrize(
    ("slug", "query", "status"),
    [
        ("rtx-4090", {}, 400),
        ("rtx-4090", {"kind": "capacity"}, 400),
        ("rtx-4090", {"kind": "card", "colour": "red"}, 400),
        ("rtx-9090", {"kind": "card"}, 404),
        ("rtx-4090", {"kind": "card", "memory_mib": "1"}, 400),
        ("rtx-4090", {"kind": "card", "memory_mib": "9" * 400}, 400),
        ("rtx-4090", {"kind": "card", "currency": "XYZ"}, 400),
        ("rtx-4090", {"kind": "card", "memory_mib": "1024", "modified": "true"}, 200),
    ],
)
def test_the_guide_refuses_what_it_does_not_know(db, slug, query, status):
    assert APIClient().get(f"/api/v1/market/{slug}/guide/", query).status_code == status


def test_the_advice_asks_the_database_no_more_for_more_cards(fleet, django_assert_max_num_queries):
    Host(fleet.firm, NOON, gpu="rtx-4090-d", count=40)
    use_hours(list(Card.objects.filter(firm=fleet.firm)), leased=0.2, hours=3)
    with django_assert_max_num_queries(30):
        fleet.advice(limit=50)
