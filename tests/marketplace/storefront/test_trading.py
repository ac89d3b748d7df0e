"""Buying and selling through the pages, as a browser without scripts does it."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse

from listings.models import CapacityListing
from marketplace.leases.models import Lease
from marketplace.orders.models import Order
from marketplace.storefront.views import orders as order_views
from tests.hosts import HOST_KEY

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(order_views, "WAIT_SECONDS", 0)  # the round runs when the test says so


@pytest.fixture
def bob(client, scene):
    client.force_login(scene.buyer)
    return client


@pytest.fixture
def alice(client, scene):
    client.force_login(scene.seller)
    return client


def order_form(scene, **changes):
    return {
        "listing": scene.offer_listing,
        "node": scene.hosts[1].node.public_id,
        "gpu": "rtx-4090",
        "memory_mib": "24576",
        "count": "1",
        "duration": "2",
        "duration_unit": "3600",
        "image": "fallow/demo",
        "ssh_public_key": HOST_KEY,
        "ports": "8888",
        "disk_gib": "10",
    } | changes


def confirm(client, scene, **changes):
    shown = client.post(url("order-new"), order_form(scene, **changes))
    key = re.search(r'name="key" value="(\w+)"', shown.content.decode())[1]
    price = re.search(r'name="shown_price" value="(\d+)"', shown.content.decode())[1]
    return order_form(scene, key=key, shown_price=price, confirm="1", **changes)


def test_the_total_is_shown_before_anything_is_bought(bob, scene):
    before = Order.objects.count()
    response = bob.post(url("order-new"), order_form(scene))
    assert "0.50 USD" in response.content.decode()  # two hours at 0.25
    assert Order.objects.count() == before


def test_confirming_buys_and_confirming_twice_buys_once(bob, scene):
    form = confirm(bob, scene)
    first = bob.post(url("order-new"), form)
    order = Order.objects.latest("pk")
    assert first["Location"] == url("order", order.public_id)
    bob.post(url("order-new"), form)
    assert Order.objects.latest("pk") == order
    assert order.escrow_micros == 500_000
    scene.market.tick()
    lease = Lease.objects.latest("pk")
    assert lease.order == order
    page = bob.get(url("order", order.public_id)).content.decode()
    assert url("lease", lease.public_id) in page


def test_a_price_that_rose_meanwhile_is_shown_and_not_paid(bob, scene):
    form = confirm(bob, scene)
    CapacityListing.objects.filter(public_id=scene.offer_listing).update(ask_micros_per_gpu_hour=300_000)
    before = Order.objects.count()
    response = bob.post(url("order-new"), form)
    assert "The price has changed" in response.content.decode()
    assert "0.60 USD" in response.content.decode()
    assert Order.objects.count() == before


def test_the_modified_card_that_was_chosen_is_the_one_that_is_bought(bob, scene):
    bob.post(url("order-new"), confirm(bob, scene, memory_mib="49140"))
    scene.market.tick()
    assert Order.objects.latest("pk").memory_mib_min == 49_140
    assert [each.card for each in Lease.objects.latest("pk").lease_cards.all()] == [scene.hosts[1].cards[0]]


def test_an_offer_that_is_gone_says_so(bob, scene):
    CapacityListing.objects.filter(public_id=scene.offer_listing).update(state="paused")
    response = bob.post(url("order-new"), order_form(scene))
    assert response.status_code == 409
    assert "This offer is gone" in response.content.decode()


def test_what_the_wallet_can_not_pay_can_not_be_confirmed(bob, scene):
    response = bob.post(url("order-new"), order_form(scene, duration="160", duration_unit="86400", count="3"))
    assert "are missing" in response.content.decode()
    assert 'name="confirm"' not in response.content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("count", "0"),
        ("count", "x"),
        ("duration", "-1"),
        ("ssh_public_key", "hello"),
        ("ports", "99999"),
        ("image", ""),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_bought(bob, scene, field, value):
    before = Order.objects.count()
    response = bob.post(url("order-new"), order_form(scene, **{field: value}) | {"confirm": "1"})
    assert response.status_code == 422
    assert "Please correct this" in response.content.decode()
    assert Order.objects.count() == before


def test_a_standing_order_waits_and_can_be_cancelled(bob, scene):
    form = {key: value for key, value in order_form(scene).items() if key not in {"listing", "node", "memory_mib"}}
    form |= {"gpu": "a100-sxm4-80gb", "price": "1.25", "currency": "USD", "key": "k" * 24, "confirm": "1"}
    assert bob.post(url("standing-order"), form).status_code == 302
    order = Order.objects.latest("pk")
    assert (order.state, order.cap_micros, order.time_in_force) == ("open", 1_250_000, "gtc")
    bob.post(url("order-cancel", order.public_id))
    scene.market.tick()
    order.refresh_from_db()
    assert order.state == "cancelled"


def test_the_buyer_sees_the_way_in_and_the_seller_does_not(bob, scene):
    path = url("lease", scene.lease.public_id)
    assert "ssh -p" in bob.get(path).content.decode()
    bob.force_login(scene.seller)
    assert "ssh -p" not in bob.get(path).content.decode()


def test_the_buyer_ends_a_lease(bob, scene):
    response = bob.post(url("lease-end", scene.lease.public_id), follow=True)
    assert "The lease is ending" in response.content.decode()
    scene.lease.refresh_from_db()
    assert (scene.lease.state, scene.lease.end_reason) == ("ending", "buyer_ended")


def test_things_of_another_firm_are_not_found(bob, scene):
    outsider = scene.market.host().node.firm
    assert outsider == scene.market.alice
    scene.lease.buyer = scene.market.alice
    scene.lease.save()
    paths = [
        url("lease", scene.lease.public_id),
        url("lease-telemetry", scene.lease.public_id),
        url("order", "ord_0000000000000000"),
        url("deposit", "dep_0000000000000000"),
    ]
    assert [bob.get(path).status_code for path in paths] == [404] * 4


def test_the_telemetry_of_a_lease_is_that_of_its_cards(bob, scene):
    answer = bob.get(url("lease-telemetry", scene.lease.public_id)).json()
    assert len(answer["times"]) == 30 == len(answer["series"]["utilisation"][0])
    assert len(answer["series"]["utilisation"]) == 1
    assert answer["times"] == sorted(answer["times"])
    assert answer["series"]["memory"][0][-1] == 41_550  # the average of the last ten seconds
    assert answer["final"] is False


def listing_form(scene, **changes):
    return {
        "what": "cards",
        "cards": [scene.hosts[1].cards[2].public_id],
        "ask": "0.40",
        "currency": "USD",
        "days": "30",
        "shortest": "1",
        "shortest_unit": "60",
        "longest": "7",
        "longest_unit": "86400",
    } | changes


def test_a_listing_says_what_is_earned_before_it_opens(alice, scene):
    before = CapacityListing.objects.count()
    shown = alice.post(url("listing-new"), listing_form(scene))
    assert "You earn 0.38 per GPU-hour" in shown.content.decode()
    assert CapacityListing.objects.count() == before
    assert alice.post(url("listing-new"), listing_form(scene, confirm="1")).status_code == 302
    listing = CapacityListing.objects.latest("pk")
    assert (listing.state, listing.ask_micros_per_gpu_hour) == ("open", 400_000)
    alice.post(url("listing-act", listing.public_id, "pause"))
    listing.refresh_from_db()
    assert listing.state == "paused"


@pytest.mark.parametrize("ask", ["0", "-1", "NaN", "1e30", "0.0001", "9" * 19])
def test_a_price_that_is_no_price_is_refused(alice, scene, ask):
    before = CapacityListing.objects.count()
    response = alice.post(url("listing-new"), listing_form(scene, ask=ask, confirm="1"))
    assert response.status_code == 422
    assert CapacityListing.objects.count() == before


def test_a_card_of_another_firm_can_not_be_listed(bob, scene):
    response = bob.post(url("listing-new"), listing_form(scene, confirm="1"))
    assert response.status_code == 422


def test_the_fleet_says_what_each_card_does_and_what_lies_idle(alice, scene):
    page = alice.get(url("fleet")).content.decode()
    assert "your process is on it" in page
    assert "1 idle card earns nothing" in page
    assert "Quarantined" in page


def test_when_nothing_matches_the_page_says_which_filter_stands_in_the_way(client, scene):
    page = client.get(url("offers"), {"price": "0.01", "currency": "USD"}).content.decode()
    assert "Without the highest price: 3 offers from 0.25" in page


def test_an_offer_vanishes_when_its_reports_are_stale(client, scene, frozen):
    assert "3 offers" in client.get(url("offers")).content.decode()
    frozen.advance(timedelta(seconds=16).total_seconds())
    assert "0 offers" in client.get(url("offers")).content.decode()
