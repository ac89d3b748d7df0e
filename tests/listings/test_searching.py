"""What a search answers: what can be rented, page by page, also over several nodes, as a round would fill it."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.db.models import F

from marketplace.leases.models import Lease
from marketplace.matching.rounds import run_round
from nodes.models import Card, Node
from tests.hosts import HOST_KEY, Host
from tests.market import Market

pytestmark = pytest.mark.django_db
SHORTEST = 60
OVERHEAD = 720


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


def test_what_is_over_before_the_shortest_lease_could_end_is_not_offered(market):
    end = market.clock.now() + timedelta(seconds=SHORTEST + OVERHEAD)
    market.list_cards(market.host(), window_end_at=end)
    (offer,) = offers(market)["data"]
    assert (offer["min_duration_seconds"], offer["max_duration_seconds"]) == (SHORTEST, SHORTEST)
    market.clock.advance(1)
    assert offers(market)["data"] == []


@pytest.mark.parametrize("sort", ["price", "-price", "-count", "memory_mib", "reliability"])
def test_pages_show_every_offer_once_in_order(market, sort):
    for number in range(7):
        market.list_cards_without_round(market.host(count=1 + number % 2), ask=400_000 + 1000 * (number // 2))
    whole = offers(market, sort=sort)
    assert (len(whole["data"]), whole["has_more"], whole["next_cursor"]) == (7, False, None)
    seen, query = [], {"sort": sort, "limit": 3}
    for _ in range(3):
        page = offers(market, **query)
        assert page["has_more"] == (page["next_cursor"] is not None)
        seen += page["data"]
        query["cursor"] = page["next_cursor"]
    assert page["next_cursor"] is None
    assert [offer["node"]["id"] for offer in seen] == [offer["node"]["id"] for offer in whole["data"]]


def test_a_page_goes_on_although_the_offer_before_it_is_gone(market):
    hosts = [market.host(count=1) for _ in range(3)]
    for number, host in enumerate(hosts):
        market.list_cards_without_round(host, ask=400_000 + 1000 * number)
    first = offers(market, limit=2)
    Node.objects.filter(pk=hosts[1].node.pk).update(is_draining=True)
    rest = offers(market, limit=2, cursor=first["next_cursor"])
    assert [offer["node"]["id"] for offer in rest["data"]] == [hosts[2].node.public_id]


@pytest.mark.parametrize("cursor", ["x", "MQ", "SW5maW5pdHk", "W10", "WyJwcmljZSIsMV0", "ü"])
def test_a_cursor_that_is_not_one_of_the_list_is_refused(market, cursor):
    market.list_cards(market.host())
    answer = market.buyer.get("/api/v1/offers/", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_a_cursor_of_another_order_is_refused(market):
    for _ in range(2):
        market.list_cards_without_round(market.host())
    cursor = offers(market, limit=1)["next_cursor"]
    answer = market.buyer.get("/api/v1/offers/", {"cursor": cursor, "sort": "-count"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_every_lease_is_firm_and_starts_now(market):
    market.list_cards(market.host())
    now = market.clock.now()
    for start in ("", "now", "null", now.isoformat(), (now - timedelta(hours=1)).isoformat()):
        assert len(offers(market, start_at=start, interruptible="false")["data"]) == 1
    assert offers(market, interruptible="true")["data"] == []
    assert offers(market, interruptible="true")["relaxations"][0]["filter"] == "interruptible"
    for start in ((now + timedelta(hours=1)).isoformat(), "tomorrow"):
        answer = market.buyer.get("/api/v1/offers/", {"start_at": start})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/start_at")


def test_nodes_of_one_site_are_one_offer_for_who_takes_several(market):
    near = [market.host(count=2), market.host(count=2)]
    far = market.host(count=3, region="us-east")
    for host, ask in ((near[0], 400_000), (near[1], 300_000), (far, 200_000)):
        market.list_cards_without_round(host, ask=ask)
    assert offers(market, count=4)["data"] == []
    (offer,) = offers(market, count=4, same_node="false")["data"]
    assert (offer["count"], offer["price_per_gpu_hour"]["amount"], offer["region"]) == (4, "0.400000", "eu-north")
    assert (offer["id"], offer["node"]) == (None, None)
    assert [each["id"] for each in offer["nodes"]] == [near[1].node.public_id, near[0].node.public_id]
    two = offers(market, count=2, same_node="false")["data"]
    assert [(each["count"], each["node"]["id"]) for each in two] == [
        (3, far.node.public_id), (2, near[1].node.public_id)
    ]  # fmt: skip


def test_a_card_in_two_listings_is_counted_once(market):
    host, other = market.host(count=2), market.host(count=1)
    market.list_cards_without_round(host, ask=400_000)
    nodes = (other.node.public_id,)
    market.list_cards_without_round(other, ask=300_000, cards=(), pool_gpu="h100-sxm5-80gb", pool_nodes=nodes)
    Card.objects.update(node=other.node, index=F("pk"))  # they were put into the host of the pool
    (offer,) = offers(market, same_node="false")["data"]
    assert (offer["count"], offer["price_per_gpu_hour"]["amount"]) == (3, "0.300000")


def sites(market):
    """Three regions whose cards cost differently; none has four on one node."""
    for region, hosts in (
        ("eu-north", [(2, 300_000), (2, 300_000)]),
        ("eu-west", [(2, 100_000), (1, 100_000), (1, 450_000)]),
        ("us-east", [(3, 200_000)]),
    ):
        for count, ask in hosts:
            market.list_cards_without_round(market.host(count=count, region=region), ask=ask)
    run_round(now=market.clock.now())


SPREADS = [
    {"count": count, "min_count": least, "same_node": same_node} | more
    for count, least, same_node, more in itertools.product(
        (2, 4, 5, 8),
        (None, 1),
        (True, False),
        ({}, {"region": ["eu-north", "us-east"]}, {"max_price_per_gpu_hour": "0.350"}),
    )
]


@pytest.mark.parametrize("body", SPREADS, ids=str)
def test_a_preview_names_what_the_round_then_fills(market, body):
    sites(market)
    body = {
        "gpu": ["h100-sxm5-80gb"], "duration_seconds": 3600, "image": "fallow/demo", "ssh_public_key": HOST_KEY
    } | body  # fmt: skip
    preview = market.buyer.post("/api/v1/orders/preview/", body, format="json").json()
    response = market.order(**{"max_price_per_gpu_hour": "9.000"} | preview["order"])
    leases = Lease.objects.all()
    if preview["offer"] is None:
        assert response.json()["state"] == "open"
        return
    assert response.json()["state"] == "filled"
    assert {lease.node.region for lease in leases} == {preview["offer"]["region"]}
    dearest = max(lease.price_micros_per_gpu_hour for lease in leases)
    assert preview["price_per_gpu_hour"]["amount"] == f"0.{dearest}"
    cards = sum(lease.lease_cards.count() for lease in leases)
    assert cards == min(body["count"], preview["offer"]["count"])
    nodes = {each["id"] for each in preview["offer"]["nodes"]}
    assert {lease.node.public_id for lease in leases} <= nodes


def test_a_preview_leaves_out_the_nodes_that_the_order_does(market):
    cheap, dear = market.host(), market.host()
    market.list_cards_without_round(cheap, ask=300_000)
    market.list_cards_without_round(dear, ask=400_000)
    body = {"gpu": ["h100-sxm5-80gb"], "duration_seconds": 3600, "exclude_nodes": [cheap.node.public_id]}
    preview = market.buyer.post("/api/v1/orders/preview/", body, format="json").json()
    assert preview["offer"]["node"]["id"] == dear.node.public_id


def test_a_preview_of_an_offer_is_of_that_model(market):
    host = Host(market.alice, market.clock.now(), gpu="rtx-4090", count=1)
    market.list_cards(host)
    (offer,) = offers(market)["data"]
    body = {"offer": offer["id"], "duration_seconds": 3600, "same_node": False, "gpu": ["h100-sxm5-80gb"]}
    preview = market.buyer.post("/api/v1/orders/preview/", body, format="json").json()
    assert preview["offer"]["gpu"] == "rtx-4090"
