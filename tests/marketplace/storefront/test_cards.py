"""Selling, buying and following a card through the pages alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from listings.models import CardListing
from marketplace.sales.models import CardBid, Evidence, Sale
from marketplace.sales.services.matching import match_cards
from nodes.models import IdentityConflict
from nodes.services.claims import take_claims
from nodes.states import ClaimKind
from tests.cards import USD, bid, buy, list_for_sale, measure, measure_for, photo
from tests.factories import fund, make_firm, make_person
from tests.hosts import Host

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("card_rules")]
ADDRESS = {"ships_to": "FR", "address": "1 rue de la Carte"}


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


def browser(person):
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def shop(scene, frozen):
    """Bob has money, and Alice's second host has cards that are measured."""
    fund(scene.market.bob, 5000 * USD)
    for card in scene.hosts[1].cards:
        measure(card, now=frozen.now())
    return scene


def upload(number=0):
    return SimpleUploadedFile("photo.jpg", photo(number), content_type="image/jpeg")


def sell(shop, client, **said):
    """Through the pages: the draft, two photos, and into the book."""
    cards = [card.public_id for card in shop.hosts[1].cards[2:]]
    body = {
        "cards": cards, "ask": "1000", "currency": "USD", "appearance_grade": "good", "warranty_days": "0",
        "ships_from": "DE", "shipping": "0", "shipping_abroad": "50", "ships_to": "de, fr", "rent_counts_days": "0",
    } | said  # fmt: skip
    made = client.post(url("card-listing-new"), body)
    listing = CardListing.objects.get()
    assert made["Location"] == url("card-listing-own", listing.public_id)
    for number, kind in enumerate(("front", "code")):
        client.post(made["Location"], {"kind": kind, "file": upload(number)})
    client.post(url("card-listing-act", listing.public_id, "open"))
    listing.refresh_from_db()
    return listing


def test_a_card_is_sold_bought_shipped_and_released_through_the_pages(shop, frozen):
    seller, buyer = browser(shop.seller), browser(shop.buyer)
    listing = sell(shop, seller)
    assert (listing.state, listing.ships_to, listing.shipping_micros) == ("open", ["DE", "FR"], 0)
    assert b"Cards for sale" in Client().get(url("cards")).content
    model = url("card-model", listing.gpu_model.slug)
    assert b"Asks" in Client().get(model).content
    page = url("card-listing", listing.public_id)
    assert b"sign in" in Client().get(page).content
    total = buyer.post(page, ADDRESS | {"count": "1", "key": "k"})
    assert "1\N{NARROW NO-BREAK SPACE}050.00" in total.content.decode()
    cheated = buyer.post(page, ADDRESS | {"count": "1", "key": "k", "shown_total": "1", "confirm": "1"})
    assert b"price has changed" in cheated.content
    bought = buyer.post(page, ADDRESS | {"count": "1", "key": "k", "shown_total": str(1050 * USD), "confirm": "1"})
    sale = Sale.objects.get()
    place = url("sale", sale.public_id)
    assert (bought.status_code, bought["Location"]) == (302, place)
    twice = buyer.post(page, ADDRESS | {"count": "1", "key": "k", "shown_total": str(1050 * USD), "confirm": "1"})
    assert (twice.status_code, twice["Location"]) == (302, place)  # although the listing may be closed by now
    assert b"1 rue de la Carte" in seller.get(place).content
    sent = {"form": "ship", "ship-carrier": "DHL", "ship-tracking": "JD1", "ship-file": upload(7)}
    assert seller.post(place, sent).status_code == 302
    assert b"fallow-agent measure" in buyer.get(place).content
    assert measure_for(sale, now=frozen.now()).state == "released"
    for client in (seller, buyer):
        assert b"Released to the seller" in client.get(place).content
    history = Client().get(model).content
    assert b"Last sale" in history and shop.market.bob.name.encode() not in history


def test_a_card_that_is_rented_is_not_shipped_from_its_page_and_keeps_no_photo_for_it(shop, frozen):
    card, now = shop.hosts[1].cards[2], frozen.now()
    take_claims(cards=[card.pk], start=now, end=now + timedelta(hours=1), kind=ClaimKind.LEASE, holder="lse_x")
    (sale,) = buy(shop.market.bob, list_for_sale([card], now=now), now=now)
    place, seller = url("sale", sale.public_id), browser(shop.seller)
    sent = {"form": "ship", "ship-carrier": "DHL", "ship-tracking": "JD1", "ship-file": upload(7)}
    assert b"It is still rented" in seller.get(place).content
    refused = seller.post(place, sent)
    assert (refused.status_code, Evidence.objects.filter(sale=sale).count()) == (422, 0)
    frozen.advance(3600)
    assert b"It is on its way" in seller.get(place).content
    assert seller.post(place, sent | {"ship-file": upload(7)}).status_code == 302


def test_who_must_let_go_of_a_sold_card_is_told_so(shop, frozen):
    """The seller's agent goes on naming a card that was pulled out of a running host."""
    seller, buyer = browser(shop.seller), browser(shop.buyer)
    (sale,) = buy(shop.market.bob, sell(shop, seller), now=frozen.now())
    place = url("sale", sale.public_id)
    seller.post(place, {"form": "ship", "ship-carrier": "DHL", "ship-tracking": "JD1", "ship-file": upload(7)})
    for each in (seller, buyer):
        assert b"still" not in each.get(place).content
    theirs = Host(shop.market.bob, frozen.now(), count=0).node
    IdentityConflict.objects.create(card=sale.card, newcomer=theirs, seen_at=frozen.now())
    assert b"restart the agent there" in seller.get(place).content
    assert b"Nothing of yours is held back" in buyer.get(place).content


def test_a_dispute_is_opened_argued_and_ruled_through_the_pages(shop, frozen):
    seller, buyer, operator = browser(shop.seller), browser(shop.buyer), browser(shop.operator)
    listing = sell(shop, seller)
    page = url("card-listing", listing.public_id)
    buyer.post(page, ADDRESS | {"count": "1", "key": "k", "shown_total": str(1050 * USD), "confirm": "1"})
    sale = Sale.objects.get()
    place = url("sale", sale.public_id)
    seller.post(place, {"form": "ship", "ship-carrier": "DHL", "ship-tracking": "JD1", "ship-file": upload(7)})
    measure_for(sale, now=frozen.now(), card=Host(shop.market.bob, frozen.now(), count=1).cards[0])
    assert b"What is different" in buyer.get(place).content
    buyer.post(place, {"form": "evidence", "evidence-text": "another serial", "evidence-file": upload(8)})
    seller.post(place, {"form": "evidence", "evidence-text": "I sent the right one"})
    assert url("dispute", sale.public_id).encode() in operator.get(url("operator")).content
    shown = operator.get(url("dispute", sale.public_id)).content
    assert b"another serial" in shown and b"I sent the right one" in shown
    for ruling, refund in (("split", ""), ("split", "1050"), ("refund", "10")):
        said = {"ruling": ruling, "refund": refund, "text": "so"}
        refused = operator.post(url("dispute", sale.public_id), said)
        assert refused.status_code == 422 and "refund" in refused.context["form"].errors
    operator.post(url("dispute", sale.public_id), {"ruling": "refund", "text": "the numbers differ"})
    assert Sale.objects.get().state == "refunded"
    assert b"the numbers differ" in seller.get(place).content
    late = buyer.post(place, {"form": "evidence", "evidence-text": "more"})
    assert late.status_code == 422 and b"is over" in late.content


def test_a_bid_is_left_shown_and_cancelled(shop):
    buyer = browser(shop.buyer)
    card = shop.hosts[1].cards[1]
    body = {
        "bid-limit": "800", "bid-currency": "USD", "bid-memory_mib": str(card.memory_mib), "bid-grade_min": "F2",
        "bid-count": "2", "bid-ships_to": "FR", "bid-address": "here", "key": "b",
    }  # fmt: skip
    assert buyer.post(url("card-model", card.gpu_model.slug), body).status_code == 302
    bid = CardBid.objects.get()
    assert b"800.00" in Client().get(url("card-model", card.gpu_model.slug)).content
    assert bid.public_id.encode() in buyer.get(url("card-bids")).content
    shown = buyer.get(url("card-bids"))
    key = f"{shown.context['key']}-{bid.public_id}"
    assert f'name="key" value="{key}"' in shown.content.decode()
    for _ in range(2):  # a second click is no failure
        done = buyer.post(url("card-bid-cancel", bid.public_id), {"key": key}, follow=True)
        assert b"its money is back" in done.content
    assert CardBid.objects.get().state == "cancelled"
    poor = buyer.post(url("card-model", card.gpu_model.slug), body | {"bid-limit": "80000", "key": "c"})
    assert poor.status_code == 422 and b"not enough money" in poor.content


def test_the_market_is_searched_by_its_url(shop, frozen):
    list_for_sale(shop.hosts[1].cards[1:3], now=frozen.now(), shipping_abroad_micros=None)
    (modified,) = shop.market.host(gpu="rtx-4090", count=1).cards
    modified.is_modified, modified.memory_mib = True, 49_140
    modified.save()
    list_for_sale([modified], now=frozen.now(), ask=3000 * USD, flags=("memory_mod",), ships_to=("DE", "NL"))

    def found(**asked):
        answer = Client().get(url("cards"), asked)
        return [(each.listing.memory_mib // 1024, each.count) for each in answer.context["offers"]]

    assert found() == [(24, 2), (48, 1)]
    assert found(memory_gib="48") == found(ships_to="NL") == [(48, 1)]
    assert found(price="2000") == found(factory="on") == [(24, 2)]
    assert found(ships_to="FR") == found(gpu="h100-sxm5-80gb") == found(currency="EUR") == found(grade="F0") == []
    assert found(ships_to="DE", grade="F1", gpu="rtx-4090") == [(24, 2), (48, 1)]
    assert b"Nothing matches all of your filters" in Client().get(url("cards"), {"memory_gib": "400"}).content
    assert Client().get(url("cards"), {"model": "rtx-4090"})["Location"] == url("card-model", "rtx-4090")
    assert Client().get(url("cards"), {"model": "no-such"}).status_code == 404


def test_a_model_shows_what_is_left_of_a_bid_and_what_the_guide_says(shop, frozen):
    bid(shop.market.bob, shop.hosts[1].cards[1], now=frozen.now(), count=3)
    list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now())
    match_cards(now=frozen.now())
    page = Client().get(url("card-model", "rtx-4090"))
    assert [each.left for each in page.context["bids"]] == [2]
    guide = page.context["guide"]
    assert guide is not None and guide.basis in page.content.decode()


def test_only_countries_that_it_ships_to_can_be_chosen(shop, frozen):
    cards = shop.hosts[1].cards
    some = list_for_sale(cards[1:2], now=frozen.now(), ships_to=("DE", "NL"))
    home = list_for_sale(cards[2:3], now=frozen.now(), shipping_abroad_micros=None)
    buyer = browser(shop.buyer)

    def offered(listing):
        form = buyer.get(url("card-listing", listing.public_id)).context["form"]
        return [code for code, _ in form.fields["ships_to"].choices if code]

    assert (sorted(offered(some)), offered(home)) == (["DE", "NL"], ["DE"])


def test_the_page_of_a_sale_says_what_was_said_of_the_card_when_it_was_sold(shop, frozen):
    said = {"flags": ("repasted", "ex_mining_declared"), "warranty_days": 365}
    listing = list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now(), **said)
    assert b"365 days, by you" in browser(shop.seller).get(url("card-listing-own", listing.public_id)).content
    (sale,) = buy(shop.market.bob, listing, now=frozen.now())
    CardListing.objects.update(flags=[], warranty_days=0, appearance_grade="fair")
    for person, page in ((shop.buyer, "sale"), (shop.seller, "sale"), (shop.operator, "dispute")):
        shown = browser(person).get(url(page, sale.public_id)).content.decode()
        assert "365 days, by the seller" in shown and "not visible from 50 cm" in shown
        assert "Was used for mining; New thermal paste" in shown


def test_an_address_is_asked_about_and_corrected_on_the_sales_page(shop, frozen):
    (sale,) = buy(shop.market.bob, list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now()), now=frozen.now())
    place, buyer, seller = url("sale", sale.public_id), browser(shop.buyer), browser(shop.seller)
    assert b"Nothing can be shipped there" in seller.get(place).content
    assert b"Nothing can be shipped there" not in buyer.get(place).content
    assert seller.post(place, {"form": "question"}).status_code == 422
    assert seller.post(place, {"form": "question", "question-reason": "no house number"}).status_code == 302
    shown = buyer.get(place).content
    assert b"no house number" in shown and b"is your turn to correct the address" in shown
    assert b"no house number" in seller.get(place).content
    assert buyer.post(place, {"form": "address", "address-address": "7 rue de la Carte"}).status_code == 302
    assert b"7 rue de la Carte" in seller.get(place).content
    again = buyer.post(place, {"form": "address", "address-address": "8 rue de la Carte"})
    assert again.status_code == 422 and b"Nobody asks about this address" in again.content


def test_in_the_last_days_of_the_sixty_the_page_says_what_follows_then(shop, frozen):
    (sale,) = buy(shop.market.bob, list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now()), now=frozen.now())
    place, buyer = url("sale", sale.public_id), browser(shop.buyer)
    late = frozen.now() + timedelta(days=59)
    state = {
        "state": "disputed",
        "received_at": late,
        "step_at": late,
        "deadline_at": frozen.now() + timedelta(days=60),
    }
    Sale.objects.update(**state)
    assert b"until then, the seller gets the money" in buyer.get(place).content
    Sale.objects.update(step_at=frozen.now())
    assert b"until then, the buyer sends the card back" in buyer.get(place).content


def test_what_comes_too_late_is_refused_in_words_although_its_form_is_gone(shop, frozen):
    (sale,) = buy(shop.market.bob, list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now()), now=frozen.now())
    place, seller = url("sale", sale.public_id), browser(shop.seller)
    Sale.objects.update(state="cancelled", deadline_at=None, closed_at=frozen.now())
    for said in (
        {"form": "ship", "ship-carrier": "DHL", "ship-tracking": "JD1", "ship-file": upload(7)},
        {"form": "question", "question-reason": "no street"},
    ):
        late = seller.post(place, said)
        assert late.status_code == 422
        (text,) = late.context["messages"]
        assert str(text) in late.content.decode().replace("&#x27;", "'")


def test_the_open_page_of_a_sale_is_told_when_there_is_more(shop, frozen):
    listing = list_for_sale(shop.hosts[1].cards[1:2], now=frozen.now())
    (sale,) = buy(shop.market.bob, listing, now=frozen.now())
    place, buyer, seller = url("sale", sale.public_id), browser(shop.buyer), browser(shop.seller)
    seen = buyer.get(place).context["seen"]
    assert b"Something has happened" not in buyer.get(place, {"seen": seen}).content
    assert b"is your turn to ship the card" in seller.get(place).content
    assert b"is the seller's turn to ship" in buyer.get(place).content
    assert b"Yours: ship the card" in seller.get(url("sales"), {"side": "seller"}).content
    seller.post(place, {"form": "evidence", "evidence-text": "packed"})
    assert b"Something has happened" in buyer.get(place, {"seen": seen}).content


def test_a_refused_photo_and_a_refused_opening_say_why(shop):
    seller = browser(shop.seller)
    listing = sell(shop, seller, flags=["repasted"])
    own = url("card-listing-own", listing.public_id)
    svg = SimpleUploadedFile("x.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", content_type="image/jpeg")
    assert b"send a plain photo" in seller.post(own, {"kind": "back", "file": svg}).content
    other = list(shop.hosts[0].cards)
    seller.post(
        url("card-listing-new"),
        {
            "cards": [other[0].public_id], "ask": "1", "currency": "USD", "appearance_grade": "good",
            "warranty_days": "0", "ships_from": "DE", "shipping": "0", "rent_counts_days": "0",
        },
    )  # fmt: skip
    draft = CardListing.objects.exclude(pk=listing.pk).get()
    answer = seller.post(url("card-listing-act", draft.public_id, "open"), follow=True)
    assert b"hotos are missing" in answer.content


def test_a_sale_and_its_pages_belong_to_its_sides(shop, frozen):
    sale_page = None
    list_for_sale(shop.hosts[1].cards[2:3], now=frozen.now(), currency="EUR")
    fund(shop.market.bob, 2000 * USD, "EUR")
    buyer = browser(shop.buyer)
    listing = CardListing.objects.get()
    buyer.post(
        url("card-listing", listing.public_id),
        ADDRESS | {"count": "1", "key": "k", "shown_total": str(1050 * USD), "confirm": "1"},
    )
    sale_page = url("sale", Sale.objects.get().public_id)
    stranger = browser(make_person(make_firm()))
    for address in (
        sale_page,
        url("card-listing-own", listing.public_id),
        url("dispute", Sale.objects.get().public_id),
    ):
        assert stranger.get(address).status_code == 404
    assert stranger.post(url("sale-act", Sale.objects.get().public_id, "accept")).status_code == 404
    assert browser(shop.buyer).post(url("sale-act", Sale.objects.get().public_id, "burn")).status_code == 404
