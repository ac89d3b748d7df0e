from __future__ import annotations

from datetime import timedelta

import pytest

from listings.models import CapacityListing
from listings.services import close_ended_listings
from marketplace.catalogue.models import GpuModel
from marketplace.leases.models import Lease
from nodes.models import Card, CardState
from nodes.states import Availability
from tests.factories import make_firm
from tests.hosts import Host
from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def offers(market, **query):
    return market.buyer.get("/api/v1/offers/", query).json()


def new_listing(market, **body):
    end = (market.clock.now() + timedelta(days=1)).isoformat()
    body = {"ask_per_gpu_hour": "0.400", "window_end_at": end, "open": True} | body
    return market.seller.post("/api/v1/capacity-listings/", body, format="json")


def test_a_pool_offers_every_idle_card_of_its_model(market):
    market.host(count=3)
    market.host(count=1, gpu="rtx-4090")
    assert new_listing(market, pool={"gpu": "h100-sxm5-80gb"}).status_code == 201
    (offer,) = offers(market)["data"]
    assert (offer["gpu"], offer["count"]) == ("h100-sxm5-80gb", 3)
    assert offer["observed_at"] < offer["stale_after"]


@pytest.mark.parametrize("availability", [each for each in Availability if each != Availability.IDLE])
def test_only_idle_cards_are_offered(market, availability):
    host = market.host(count=1)
    market.list_cards(host)
    CardState.objects.update(availability=availability)
    assert offers(market)["data"] == []


def test_cards_of_two_models_on_one_node_are_two_offers_though_their_memory_is_the_same(market):
    host = market.host(count=2, gpu="rtx-4090")
    other = GpuModel.objects.get(slug="rtx-3090")
    Card.objects.filter(pk=host.cards[1].pk).update(gpu_model=other, memory_mib=host.cards[0].memory_mib)
    market.list_cards(host)
    found = market.buyer.get("/api/v1/offers/").json()["data"]
    assert sorted((offer["gpu"], offer["count"]) for offer in found) == [("rtx-3090", 1), ("rtx-4090", 1)]
    assert market.order(gpu=["rtx-3090"]).status_code == 201
    assert Lease.objects.get().lease_cards.get().card == host.cards[1]


@pytest.mark.parametrize("said", [2**33, -1, 10**400, 1.5e300, "many", [2**70], {"a": 1}, None, True])
def test_nothing_that_a_host_says_of_itself_breaks_the_search(market, said):
    market.list_cards(market.host(inventory={"cpu_count": said, "memory_mib": said, "driver_version": "570"}))
    market.list_cards(market.host(inventory={"cpu_count": 192, "memory_mib": 2_097_152}))
    nodes = [offer["node"] for offer in offers(market)["data"]]
    assert {(node["cpu_count"], node["memory_mib"]) for node in nodes} >= {(192, 2_097_152)}
    assert len(nodes) == 2
    assert market.order().status_code == 201


def test_an_offer_vanishes_when_the_reports_stop(market):
    market.list_cards(market.host())
    assert offers(market)["data"]
    market.clock.advance(16)
    assert offers(market)["data"] == []


def test_a_leased_card_is_no_longer_offered(market):
    market.list_cards(market.host(count=2))
    market.order()
    assert offers(market)["data"][0]["count"] == 1


def test_filters_narrow_and_an_empty_answer_says_which_one_to_give_up(market):
    market.list_cards(market.host())
    assert offers(market, gpu="h100-sxm5-80gb", region="eu-north", duration_seconds=3600)["data"]
    answer = offers(market, region="us-east", gpu="h100-sxm5-80gb")
    assert answer["data"] == []
    assert answer["relaxations"] == [
        {"filter": "region", "offers": 1, "price_per_gpu_hour": {"amount": "0.400000", "currency": "USD"}}
    ]


def test_the_total_is_for_all_cards_and_the_asked_duration(market):
    market.list_cards(market.host(count=2))
    (offer,) = offers(market, duration_seconds=3600)["data"]
    assert offer["total"]["amount"] == "0.800000"


def test_an_unknown_filter_is_an_error(market):
    response = market.buyer.get("/api/v1/offers/", {"colour": "green"})
    assert (response.status_code, response.json()["code"]) == (400, "unknown_filter")


@pytest.mark.parametrize(
    "body",
    [
        {"ask_per_gpu_hour": "0"},
        {"ask_per_gpu_hour": "-1"},
        {"ask_per_gpu_hour": "NaN"},
        {"ask_per_gpu_hour": "1" + "0" * 30},
        {"ask_per_gpu_hour": "0.0001"},
        {"window_end_at": "2020-01-01T00:00:00Z"},
        {"min_duration_seconds": 1},
        {"min_duration_seconds": 7200, "max_duration_seconds": 3600},
        {"pool": {"gpu": "no-such-gpu"}},
        {"pool": None},
        {"currency": "XXX"},
    ],
)
def test_a_wrong_listing_is_a_clear_400(market, body):
    response = new_listing(market, **{"pool": {"gpu": "h100-sxm5-80gb"}} | body)
    assert response.status_code == 400
    assert response.json()["errors"]


def test_somebody_elses_card_or_node_cannot_be_listed(market):
    other = Host(make_firm(), market.clock.now())
    assert new_listing(market, cards=[other.cards[0].public_id]).status_code == 404
    pool = {"gpu": "h100-sxm5-80gb", "nodes": [other.node.public_id]}
    assert new_listing(market, pool=pool).status_code == 404


def test_a_card_is_listed_once_at_a_time(market):
    host = market.host()
    first = market.list_cards(host)
    response = new_listing(market, cards=[host.cards[0].public_id])
    assert (response.status_code, response.json()["code"]) == (409, "card_already_listed")
    assert market.seller.post(f"/api/v1/capacity-listings/{first.public_id}/pause/").status_code == 200
    assert new_listing(market, cards=[host.cards[0].public_id]).status_code == 201


def test_a_node_is_listed_with_all_its_cards_of_one_model(market):
    host, mixed = market.host(count=2), market.host(count=2)
    market.host(count=1)
    Card.objects.filter(pk=mixed.cards[1].pk).update(gpu_model=GpuModel.objects.get(slug="rtx-3090"))
    made = new_listing(market, node=host.node.public_id, only_when_idle=True, interruptible=False).json()
    assert made["pool"] == {"gpu": "h100-sxm5-80gb", "nodes": [host.node.public_id]}
    assert (made["only_when_idle"], made["interruptible"]) == (True, False)
    (offer,) = offers(market)["data"]
    assert (offer["count"], offer["node"]["id"]) == (2, host.node.public_id)
    refused = new_listing(market, node=mixed.node.public_id)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/node")
    assert new_listing(market, node=Host(make_firm(), market.clock.now()).node.public_id).status_code == 404
    assert new_listing(market, node=host.node.public_id, pool={"gpu": "h100-sxm5-80gb"}).status_code == 400


def test_what_every_listing_is_can_be_said_and_not_be_denied(market):
    listing = market.list_cards(market.host())
    address = f"/api/v1/capacity-listings/{listing.public_id}/"
    for denied in ({"only_when_idle": False}, {"interruptible": True}):
        answers = [
            new_listing(market, pool={"gpu": "rtx-4090"}, **denied),
            market.seller.patch(address, denied, format="json"),
        ]
        assert [each.status_code for each in answers] == [400, 400]
        assert answers[0].json()["errors"][0]["pointer"] == f"/{next(iter(denied))}"
    said = {"only_when_idle": True, "interruptible": False, "ask_per_gpu_hour": "0.500"}
    assert market.seller.patch(address, said, format="json").json()["ask_per_gpu_hour"]["amount"] == "0.500000"


POOL = {"gpu": "h100-sxm5-80gb"}


def test_a_pool_and_what_is_in_the_book_already_do_not_overlap(market):
    near, far = market.host(), market.host()
    card, node, elsewhere = near.cards[0].public_id, near.node.public_id, far.node.public_id
    bodies = {
        "cards": {"cards": [card]},
        "everywhere": {"pool": POOL},
        "here": {"pool": POOL | {"nodes": [node]}},
        "here and there": {"pool": POOL | {"nodes": [node, elsewhere]}},
        "there": {"pool": POOL | {"nodes": [elsewhere]}},
        "another model": {"pool": {"gpu": "rtx-4090"}},
    }
    apart = {frozenset({"cards", "there"}), frozenset({"here", "there"})}
    for first, body in bodies.items():
        opened = new_listing(market, **body)
        assert opened.status_code == 201
        for second, other in bodies.items():
            answer = new_listing(market, **other)
            is_apart = frozenset({first, second}) in apart or (first == "another model") != (second == "another model")
            assert answer.status_code == (201 if is_apart else 409), (first, second)
            if is_apart:
                market.seller.post(f"/api/v1/capacity-listings/{answer.json()['id']}/close/")
            else:
                assert answer.json()["code"] == "card_already_listed"
                assert opened.json()["id"] in answer.json()["detail"]
        market.seller.post(f"/api/v1/capacity-listings/{opened.json()['id']}/close/")
    assert not CapacityListing.objects.exclude(state="closed").exists()  # a refused one leaves nothing behind


def test_a_firm_has_only_so_many_listings(market, settings):
    settings.OPEN_LISTINGS_MAX = 2
    hosts = [market.host(count=1) for _ in range(3)]
    made = [new_listing(market, cards=[host.cards[0].public_id]) for host in hosts]
    assert [each.status_code for each in made] == [201, 201, 409]
    assert made[2].json()["code"] == "too_many_listings"
    market.seller.post(f"/api/v1/capacity-listings/{made[0].json()['id']}/close/")
    assert new_listing(market, cards=[hosts[2].cards[0].public_id], open=False).status_code == 201
    assert new_listing(market, cards=[hosts[0].cards[0].public_id], open=False).status_code == 409


def test_a_leased_card_cannot_be_listed_by_name(market):
    host = market.host(count=1)
    listing = market.list_cards(host)
    market.order()
    market.seller.post(f"/api/v1/capacity-listings/{listing.public_id}/close/")
    response = new_listing(market, cards=[host.cards[0].public_id])
    assert (response.status_code, response.json()["code"]) == (409, "card_leased")


def test_a_listing_closes_with_its_window(market):
    listing = market.list_cards(market.host(), window_end_at=market.clock.now() + timedelta(hours=1))
    market.clock.advance(3601)
    assert close_ended_listings(now=market.clock.now()) == 1
    listing.refresh_from_db()
    assert listing.state == "closed"
