from __future__ import annotations

import threading

import pytest
from django.db import connections

from listings.models import CapacityListing
from marketplace.accounts.models import ApiKey, Firm
from marketplace.common.api import parse
from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.leases.models import Lease
from marketplace.ledger.selectors import wallet_balances
from marketplace.orders.models import Order
from marketplace.orders.serializers import OrderInput, order_request
from marketplace.orders.services.placing import place_order
from nodes.models import Card
from tests.conftest import FrozenClock
from tests.factories import NOON, make_firm
from tests.hosts import HOST_KEY
from tests.market import USD, Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def available(firm):
    return wallet_balances(firm)[0].available_micros


def test_a_resting_order_is_tried_again_when_supply_appears(market):
    response = market.order()
    assert (response.status_code, response.json()["state"]) == (201, "open")
    market.list_cards(market.host())
    market.tick()
    assert market.buyer.get(f"/api/v1/orders/{response.json()['id']}/").json()["state"] == "filled"
    assert Lease.objects.get().price_micros_per_gpu_hour == 500_000  # the older side's price


def test_an_immediate_order_that_nothing_matches_is_refused_and_refunded(market):
    response = market.order(time_in_force="ioc")
    assert (response.status_code, response.json()["code"]) == (409, "no_match")
    assert available(market.bob) == 100 * USD


def test_the_same_key_places_one_order_and_another_body_is_refused(market):
    first, again = market.order(key="k1"), market.order(key="k1")
    assert first.json()["id"] == again.json()["id"]
    assert Order.objects.count() == 1
    other = market.order(key="k1", count=2)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_repeated_order_is_shown_as_it_is_whatever_the_rules_say_by_now(market):
    first = market.order(key="k1")
    Firm.objects.filter(pk=market.bob.pk).update(headquarters_country="KP")
    again = market.order(key="k1")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    other = market.order(key="k2")
    assert (other.status_code, other.json()["code"]) == (403, "compliance_block")


def test_a_cancelled_order_returns_its_money(market):
    order = market.order().json()["id"]
    assert available(market.bob) == 95 * USD
    assert market.cancel(order).status_code == 202
    market.tick()
    assert market.buyer.get(f"/api/v1/orders/{order}/").json()["end_reason"] == "buyer_cancelled"
    assert available(market.bob) == 100 * USD


def test_a_repeated_cancel_shows_the_order_as_it_is_and_says_who_did_it(market):
    order = market.order().json()["id"]
    missing = market.buyer.post(f"/api/v1/orders/{order}/cancel/")
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")
    assert [market.cancel(order, key=key).status_code for key in ("a", "a", "b")] == [202, 202, 202]
    market.tick()
    answers = [market.cancel(order, key=key) for key in ("a", "b", "c")]
    assert [(each.status_code, each.json()["state"]) for each in answers] == [(200, "cancelled")] * 3
    assert available(market.bob) == 100 * USD
    other = market.order().json()["id"]
    assert market.cancel(other, key="a").status_code == 422
    told = Event.objects.get(firm_id=market.bob.pk, type="order.cancelled")
    assert told.actor == ApiKey.objects.filter(firm=market.bob).latest("pk").public_id


def test_an_order_that_ended_otherwise_cannot_be_cancelled(market):
    market.list_cards(market.host())
    order = market.order().json()["id"]
    for _ in range(2):
        answer = market.cancel(order, key="a")
        assert (answer.status_code, answer.json()["code"]) == (409, "order_not_open")


def test_an_order_ends_when_its_time_is_over(market):
    order = market.order(time_in_force="gtd", expires_at="2026-11-23T13:00:00Z").json()["id"]
    market.clock.advance(3601)
    market.tick()
    assert market.buyer.get(f"/api/v1/orders/{order}/").json()["state"] == "expired"
    assert available(market.bob) == 100 * USD


def test_a_firm_has_only_so_many_open_orders(market, settings):
    settings.OPEN_ORDERS_MAX = 2
    made = [market.order(duration_seconds=3600) for _ in range(3)]
    assert [each.status_code for each in made] == [201, 201, 409]
    assert made[2].json()["code"] == "too_many_orders"
    assert available(market.bob) == 99 * USD
    market.list_cards(market.host(count=1))
    market.tick()
    assert market.order(duration_seconds=3600).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_orders_at_the_same_moment_are_counted_one_after_the_other(settings):
    settings.OPEN_ORDERS_MAX = 3
    market = Market(FrozenClock(NOON))
    body = {"gpu": ["h100-sxm5-80gb"], "duration_seconds": 60, "image": "i", "ssh_public_key": HOST_KEY}
    wanted = order_request(parse(OrderInput, body | {"max_price_per_gpu_hour": "0.500"}))
    refused = []

    def place():
        try:
            place_order(firm=market.bob, actor="test", request=wanted, now=NOON)
        except Conflict as error:
            refused.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=place) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["too_many_orders"] * 5
    assert Order.objects.filter(state="open").count() == 3


def test_a_changed_price_makes_the_quote_stale(market):
    listing = market.list_cards(market.host())
    (offer,) = market.buyer.get("/api/v1/offers/").json()["data"]
    body = {"ask_per_gpu_hour": "0.450"}
    assert (
        market.seller.patch(f"/api/v1/capacity-listings/{listing.public_id}/", body, format="json").status_code == 200
    )
    response = market.order(offer=offer["id"], gpu=[], max_price_per_gpu_hour="0.400")
    assert (response.status_code, response.json()["code"]) == (409, "quote_stale")


def test_who_takes_the_factory_card_does_not_get_the_modified_one(market):
    host = market.host(count=2, gpu="rtx-4090-d")
    Card.objects.filter(pk=host.cards[0].pk).update(memory_mib=49_140, is_modified=True)
    market.list_cards(host)
    for offer in market.buyer.get("/api/v1/offers/").json()["data"]:
        response = market.order(offer=offer["id"], gpu=[])
        lease = market.buyer.get(f"/api/v1/leases/{response.json()['leases'][0]}/").json()
        assert lease["cards"][0]["memory_mib"] == offer["memory_mib"]


def test_a_preview_returns_the_exact_body_to_post(market):
    market.list_cards(market.host())
    body = {"gpu": ["h100-sxm5-80gb"], "duration_seconds": 3600, "image": "fallow/demo", "ssh_public_key": HOST_KEY}
    preview = market.buyer.post("/api/v1/orders/preview/", body, format="json").json()
    assert preview["total"] == {"amount": "0.400000", "currency": "USD"}
    assert preview["is_affordable"]
    response = market.order(**preview["order"])
    assert (response.status_code, response.json()["state"]) == (201, "filled")


def test_a_preview_of_nothing_says_what_stands_in_the_way(market):
    market.list_cards(market.host())
    body = {"gpu": ["h100-sxm5-80gb"], "duration_seconds": 3600, "max_price_per_gpu_hour": "0.100"}
    preview = market.buyer.post("/api/v1/orders/preview/", body, format="json").json()
    assert preview["relaxations"][0]["filter"] == "price__lte"
    assert preview["relaxations"][0]["price_per_gpu_hour"]["amount"] == "0.400000"


def test_a_firm_never_trades_with_itself(market):
    market.list_cards(market.host())
    assert market.seller.get("/api/v1/offers/").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"max_price_per_gpu_hour": "0"},
        {"max_price_per_gpu_hour": "-1"},
        {"max_price_per_gpu_hour": "NaN"},
        {"max_price_per_gpu_hour": "1e30"},
        {"max_price_per_gpu_hour": 0.5},
        {"max_price_per_gpu_hour": "0.0001"},
        {"max_price_per_gpu_hour": "9" * 31},
        {"count": 0},
        {"count": 10**9},
        {"duration_seconds": 1},
        {"gpu": ["no-such-gpu"]},
        {"gpu": []},
        {"currency": "XXX"},
        {"ssh_public_key": "not a key"},
        {"ssh_public_key": HOST_KEY + "\ncommand=evil"},
        {"time_in_force": "gtd"},
        {"expires_at": "2020-01-01T00:00:00Z", "time_in_force": "gtd"},
        {"offer": "forged"},
        {"no_such_field": 1},
        {"ports": [0]},
        {"interruptible": True},
        {"time_in_force": "fok", "min_count": 1, "count": 2},
        {"env": {f"V{number}": "" for number in range(65)}},
        {"env": {"1A": "x"}},
        {"env": {"A-B": "x"}},
        {"env": {"A=B": "x"}},
        {"env": {"Ä": "x"}},
        {"env": {"A\n": "x"}},
        {"env": {"": "x"}},
        {"env": {"A": "x\nPermitRootLogin yes"}},
        {"env": {"A": "x\x00"}},
        {"command": ["\x00"]},
        {"command": ["x" * 4000] * 9},
        {"env": {f"V{number}": "ü" * 2000 for number in range(9)}},
        {"registry_auth": {"username": "u", "password": "p", "serveraddress": "http://10.0.0.1"}},
        {"registry_auth": {"username": "u"}},
        {"registry_auth": {}},
        {"image": "two words"},
        {"image": "upper/Case"},
        {"image": "ïmage"},
        {"image": "image:tag:tag"},
        {"image": "-image"},
        {"image": "image@sha256:abc"},
        {"image": "a//b"},
        {"image": "--privileged"},
        {"image": "image:" + "t" * 129},
    ],
)
def test_a_wrong_body_is_a_clear_400_and_moves_no_money(market, body):
    response = market.order(**body)
    assert response.status_code == 400
    assert response["Content-Type"].startswith("application/problem+json")
    assert response.json()["errors"] or response.json()["code"] == "bad_offer"
    assert available(market.bob) == 100 * USD
    assert not Order.objects.exists()


DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "body",
    [
        *({"image": image} for image in (
            "ubuntu", "ubuntu:24.04", "nvcr.io/nvidia/pytorch:24.10-py3", "localhost:5000/a__b/c.d-e:T_1",
            "[::1]:5000/a", f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b:tag@{DIGEST}",
        )),
        {"env": {f"_V{number}": " kept as it is " for number in range(64)}},
        {"command": ["sh", "-c", "echo a\necho b "]},
        {"registry_auth": {"username": "u", "password": "p "}},
        {"registry_auth": {"identitytoken": "t"}},
        {"interruptible": False, "start_at": None},
        {"time_in_force": "fok"},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_node_can_take_reaches_it_unchanged(market, body):
    market.list_cards(market.host())
    assert market.order(**body).status_code == 201, body
    order = Order.objects.get()
    stored = order.workload | {"registry_auth": order.registry_auth}
    assert all(stored[name] == value for name, value in body.items() if name in stored)


def test_a_price_that_rose_makes_the_quote_stale_whatever_the_cap_and_a_lower_one_is_taken(market):
    listing = market.list_cards(market.host())
    (offer,) = market.buyer.get("/api/v1/offers/").json()["data"]
    for ask, wanted in ((450_000, 409), (300_000, 201)):
        CapacityListing.objects.filter(pk=listing.pk).update(ask_micros_per_gpu_hour=ask)
        response = market.order(offer=offer["id"], gpu=[], max_price_per_gpu_hour="0.500")
        assert response.status_code == wanted
        assert (wanted == 201) or response.json()["code"] == "quote_stale"


def test_without_a_key_or_with_too_little_money_nothing_happens(market):
    headers = {"Idempotency-Key": "k"}
    body = {"gpu": ["h100-sxm5-80gb"], "duration_seconds": 3600, "max_price_per_gpu_hour": "0.500",
            "image": "i", "ssh_public_key": HOST_KEY}  # fmt: skip
    response = market.buyer.post("/api/v1/orders/", body, format="json")
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_required")
    poor = market.client(make_firm())
    response = poor.post("/api/v1/orders/", body, format="json", headers=headers)
    assert (response.status_code, response.json()["code"]) == (409, "insufficient_funds")
    assert not Order.objects.exists()


def test_an_embargoed_firm_cannot_order(market):
    blocked = market.client(make_firm(country="KP"))
    response = market.order(blocked)
    assert (response.status_code, response.json()["code"]) == (403, "compliance_block")


def test_what_belongs_to_another_firm_is_not_found(market):
    order = market.order().json()["id"]
    stranger = market.client(make_firm())
    assert stranger.get(f"/api/v1/orders/{order}/").status_code == 404
    assert stranger.post(f"/api/v1/orders/{order}/cancel/").status_code == 404


def test_a_key_without_the_scope_may_look_and_not_touch(market):
    reader = market.client(market.bob, "read")
    assert reader.get("/api/v1/orders/").status_code == 200
    assert market.order(reader).status_code == 403


def test_nobody_gets_in_without_a_key(market):
    market.buyer.credentials(HTTP_AUTHORIZATION="Bearer fal_live_" + "x" * 36)
    assert market.buyer.get("/api/v1/orders/").status_code == 401
    market.buyer.credentials()
    assert market.buyer.get("/api/v1/orders/").status_code in (401, 403)
