"""A card's way from the draft to the ruling, over HTTP alone."""

from __future__ import annotations

import itertools

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from listings.cards.services import close_card_listing
from marketplace.sales.models import Sale
from nodes.models import Card
from tests.cards import USD, list_for_sale, measure, measure_for, photo
from tests.factories import NOON, api_of, fund, make_firm, make_person
from tests.hosts import Host

pytestmark = pytest.mark.django_db
_keys = itertools.count(1)
API = "/api/v1"


@pytest.fixture
def sides(deal, frozen):
    return api_of(deal.alice), api_of(deal.bob)


def post(client, path, body=None, *, status=None, key=None, **said):
    answer = client.post(
        f"{API}/{path}", body or {}, format="json", headers={"Idempotency-Key": key or f"key-{next(_keys)}"}, **said
    )
    if status:
        assert answer.status_code == status, answer.json()
    return answer.json()


def send_photo(client, path, status=201, data=None, **fields):
    file = SimpleUploadedFile("x.jpg", data or photo(), content_type="image/jpeg")
    answer = client.post(f"{API}/{path}", {"file": file, **fields}, format="multipart")
    assert answer.status_code == status, answer.content
    return answer.json()


def listed(deal, seller, **said):
    """POST a draft, its photos, and open it."""
    body = {
        "cards": [card.public_id for card in deal.host.cards],
        "ask": "1000.00",
        "grade_appearance": "excellent",
        "ships_from": "DE",
        "shipping": "20",
        "shipping_abroad": "50",
    } | said
    draft = post(seller, "card-listings/", body, status=201)
    assert (draft["state"], len(draft["code"])) == ("draft", 6)
    for number, kind in enumerate(("front", "code")):
        send_photo(seller, f"card-listings/{draft['id']}/photos/", kind=kind, data=photo(number))
    return post(seller, f"card-listings/{draft['id']}/open/", status=200)


def test_from_the_draft_to_the_release(deal, sides):
    seller, buyer = sides
    for card in deal.host.cards:
        measure(card, now=NOON)
    listing = listed(deal, seller)
    assert listing["grade_function"] == "F1"
    shown = buyer.get(f"{API}/card-listings/", {"market": "true"}).json()["data"]
    assert [(each["id"], each["code"]) for each in shown] == [(listing["id"], None)]
    quoted = post(buyer, f"card-listings/{listing['id']}/quote/", {"ships_to": "FR"}, status=200)
    assert quoted["price"]["total"] == {"amount": "1050.000000", "currency": "USD"}
    body = {"ships_to": "FR", "address": "Paris", "max_total": "1050", "count": 2}
    bid = post(buyer, f"card-listings/{listing['id']}/buy/", body, status=201, key="once")
    assert post(buyer, f"card-listings/{listing['id']}/buy/", body, status=201, key="once")["id"] == bid["id"]
    sale_id, other = bid["sales"]
    sale = seller.get(f"{API}/sales/{sale_id}/").json()
    assert (sale["state"], sale["turn"], sale["address"], sale["seller_gets"]["amount"]) == (
        "paid", "seller", "Paris", "1000.000000",
    )  # fmt: skip
    label = send_photo(seller, f"sales/{sale_id}/evidence/", text="label")["id"]
    shipment = {"carrier": "DHL", "tracking": "JD1", "label_photo": label}
    assert post(seller, f"sales/{sale_id}/ship/", shipment, status=200)["state"] == "shipped"
    assert post(buyer, f"sales/{sale_id}/receive/", status=200)["state"] == "inspecting"
    assert post(buyer, f"sales/{sale_id}/accept/", status=200)["state"] == "released"
    tape = Client().get(f"{API}/market/h100-sxm5-80gb/trades/", {"kind": "card"}).json()["data"]
    assert [each["price"]["amount"] for each in tape] == ["1000.000000", "1000.000000"]
    text = str(tape)
    assert deal.alice.public_id not in text and deal.bob.public_id not in text and sale_id not in text
    depth = Client().get(f"{API}/market/h100-sxm5-80gb/depth/").json()
    assert [(row["count"], row["zone"]) for row in depth["asks"]] == [(1, "eu")]
    assert depth["last"][0]["price"]["amount"] == "1000.000000"
    assert [each["id"] for each in buyer.get(f"{API}/sales/", {"state": "paid"}).json()["data"]] == [other]


def test_a_dispute_with_its_bundle_and_the_operators_ruling(deal, sides, frozen):
    seller, buyer = sides
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    bid = post(buyer, f"card-listings/{listing.public_id}/buy/", {"ships_to": "DE", "address": "x"}, status=201)
    sale_id = bid["sales"][0]
    label = send_photo(seller, f"sales/{sale_id}/evidence/")["id"]
    post(seller, f"sales/{sale_id}/ship/", {"carrier": "DHL", "tracking": "1", "label_photo": label}, status=200)
    measure_for(Sale.objects.get(), now=NOON, card=Host(deal.bob, NOON, count=1).cards[0])
    post(buyer, f"sales/{sale_id}/evidence/", {"text": "another serial"}, status=201)
    bundle = seller.get(f"{API}/sales/{sale_id}/evidence/").json()
    assert [each["role"] for each in bundle["passports"]] == ["seller", "buyer"]
    assert [each["by"] for each in bundle["evidence"]] == ["seller", "buyer"]
    assert bundle["differences"][0]["code"] == "uuid"
    assert bundle["events"][-1]["type"] == "sale.evidence"
    ruling = {"ruling": "split", "refund": "500", "text": "half each"}
    assert post(buyer, f"sales/{sale_id}/resolve/", ruling, status=403)["code"] == "operators_only"
    operator = Client()
    operator.force_login(make_person(is_operator=True))
    answer = operator.post(
        f"{API}/sales/{sale_id}/resolve/", ruling, content_type="application/json", headers={"Idempotency-Key": "r"}
    )
    assert (answer.status_code, answer.json()["state"], answer.json()["disputes"][0]["ruling"]) == (
        200,
        "split",
        "split",
    )
    assert post(seller, f"sales/{sale_id}/evidence/", {"text": "no"}, status=409)["code"] == "sale_over"
    photo_url = bundle["evidence"][0]["photo"]
    assert operator.get(photo_url)["Content-Type"] == "image/jpeg"
    stranger = Client()
    assert stranger.get(photo_url).status_code == 404
    stranger.force_login(make_person(make_firm()))
    assert stranger.get(photo_url).status_code == 404


def test_bids_over_http(deal, sides):
    _, buyer = sides
    body = {
        "gpu": "h100-sxm5-80gb", "memory_mib": deal.host.cards[0].memory_mib, "limit": "900", "count": 2,
        "ships_to": "FR", "address": "Paris", "ships_from_zone": "EU",
    }  # fmt: skip
    bid = post(buyer, "card-bids/", body, status=201)
    assert (bid["state"], bid["escrow"]["amount"], bid["ships_from_zone"]) == ("open", "1800.000000", "eu")
    assert post(buyer, "card-bids/", body | {"colour": "red"}, status=400)["errors"][0]["pointer"] == "/colour"
    changed = buyer.patch(f"{API}/card-bids/{bid['id']}/", {"limit": "950"}, format="json").json()
    assert changed["escrow"]["amount"] == "1900.000000"
    cancel = f"card-bids/{bid['id']}/cancel/"
    assert buyer.post(f"{API}/{cancel}").json()["code"] == "idempotency_key_required"
    assert buyer.get(f"{API}/card-bids/{bid['id']}/").json()["state"] == "open"
    for _ in range(2):  # the same key finds what it did
        assert post(buyer, cancel, status=200, key="take-back")["state"] == "cancelled"
    assert post(buyer, f"card-bids/{bid['id']}/cancel/", status=409)["code"] == "wrong_state"
    no_key = buyer.post(f"{API}/card-bids/", body, format="json")
    assert no_key.json()["code"] == "idempotency_key_required"


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", photo() + b"PK\x05\x06" + b"\0" * 18]
)
def test_what_is_no_photo_is_refused_over_http(deal, sides, data):
    seller, _ = sides
    draft = post(
        seller,
        "card-listings/",
        {"cards": [deal.host.cards[0].public_id], "ask": "1", "grade_appearance": "good", "ships_from": "DE"},
        status=201,
    )
    answer = send_photo(seller, f"card-listings/{draft['id']}/photos/", 400, data=data, kind="front")
    assert answer["code"] == "photo_not_a_photo"


def test_a_body_that_is_too_long_is_refused_before_it_is_read(deal, sides):
    seller, _ = sides
    draft = post(
        seller,
        "card-listings/",
        {"cards": [deal.host.cards[0].public_id], "ask": "1", "grade_appearance": "good", "ships_from": "DE"},
        status=201,
    )
    big = send_photo(seller, f"card-listings/{draft['id']}/photos/", 400, data=b"\xff" * 9_000_000, kind="front")
    assert big["code"] == "photo_too_large"


def test_a_shipped_notice_without_a_sale_is_not_found(deal, sides):
    seller, buyer = sides
    body = {"carrier": "DHL", "tracking": "1", "label_photo": "x"}
    assert post(seller, "sales/sale_0000000000000000/ship/", body, status=404)
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    sold = post(buyer, f"card-listings/{listing.public_id}/buy/", {"ships_to": "DE", "address": "x"}, status=201)
    assert post(seller, f"sales/{sold['sales'][0]}/ship/", body, status=409)["code"] == "label_missing"


def test_a_drafts_photos_are_its_own_firms_and_an_open_listings_everybodys(deal, sides):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    address = f"/photos/cards/{listing.photos.first().public_id}.jpg"
    assert Client().get(address)["Content-Type"] == "image/jpeg"
    close_card_listing(firm=deal.alice, public_id=listing.public_id, actor="t", now=NOON)
    assert Client().get(address).status_code == 200  # who bought the card may have to show what it looked like
    type(listing).objects.update(state="draft", priced_at=None)
    assert Client().get(address).status_code == 404
    own = Client()
    own.force_login(make_person(deal.alice))
    assert own.get(address).status_code == 200


def test_modified_memory_must_be_said_to_list_it(deal, sides):
    seller, _ = sides
    Card.objects.update(is_modified=True)
    for card in deal.host.cards:
        measure(card, now=NOON)
    body = {"cards": [deal.host.cards[0].public_id], "ask": "1", "grade_appearance": "good", "ships_from": "DE"}
    draft = post(seller, "card-listings/", body, status=201)
    for number, kind in enumerate(("front", "code")):
        send_photo(seller, f"card-listings/{draft['id']}/photos/", kind=kind, data=photo(number))
    assert post(seller, f"card-listings/{draft['id']}/open/", status=409)["code"] == "memory_mod_undisclosed"
    seller.patch(f"{API}/card-listings/{draft['id']}/", {"flags": ["memory_mod"]}, format="json")
    assert post(seller, f"card-listings/{draft['id']}/open/", status=200)["flags"] == ["memory_mod"]


def test_who_has_no_money_buys_nothing(deal, sides):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    poor = make_firm()
    fund(poor, 10 * USD)
    answer = post(
        api_of(poor), f"card-listings/{listing.public_id}/buy/", {"ships_to": "DE", "address": "x"}, status=409
    )
    assert answer["code"] == "insufficient_funds"


def test_the_same_key_finds_the_sale_of_a_lots_last_card_although_its_listing_is_closed(deal, sides):
    _, buyer = sides
    path = f"card-listings/{list_for_sale(deal.host.cards[:1], now=NOON).public_id}/buy/"
    body = {"ships_to": "FR", "address": "Paris"}
    bought = post(buyer, path, body, status=201, key="again")
    assert post(buyer, path, body, status=201, key="again")["sales"] == bought["sales"]
    assert post(buyer, path, body, status=404, key="another")
