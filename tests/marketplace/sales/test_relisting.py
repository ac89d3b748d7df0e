"""What a cancelled sale lets go is for sale again, unless its seller was at fault."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listings.cards.services import close_card_listing, open_card_listing, pause_card_listing
from listings.models import CardListing
from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.sales.models import Sale
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.relisting import offer_again
from marketplace.sales.services.silences import advance_sales
from nodes.models import Card
from tests.cards import USD, bid, buy, list_for_sale, measure
from tests.factories import NOON, make_firm

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
LATER = NOON + 8 * DAY


@pytest.fixture
def lot(deal):
    """Both cards of a lot are sold to where the rules hold it, so that the listing is closed."""
    listing = list_for_sale(deal.host.cards[:2], now=NOON)
    for _ in range(2):
        buy(deal.bob, listing, now=NOON, ships_to="CN")
    listing.refresh_from_db()
    assert listing.state == "closed"
    return listing


def cancel_all():
    advance_sales(now=LATER)
    assert {*Sale.objects.values_list("state", "end_reason")} == {("cancelled", "compliance_silent")}


def test_what_nobody_cleared_is_for_sale_again_at_its_place_and_price(deal, lot):
    waiting = bid(deal.bob, deal.host.cards[0], now=NOON + DAY, limit=2000 * USD, count=2)
    assert offer_again(now=NOON + DAY) == 0  # the sales are not over
    cancel_all()
    assert (offer_again(now=LATER), offer_again(now=LATER)) == (2, 0)
    priced_at = lot.priced_at
    lot.refresh_from_db()
    assert (lot.state, lot.priced_at) == ("open", priced_at)
    assert [each.is_live for each in lot.lot.all()] == [True, True]
    types = (
        Event.objects.filter(firm_id=deal.alice.pk, subject=lot.public_id).order_by("pk").values_list("type", "reason")
    )
    assert list(types)[-2:] == [("card_listing.open", "came_back"), ("card_listing.came_back", "")]
    assert match_cards(now=LATER) == 2
    assert {each.item_micros for each in Sale.objects.filter(bid=waiting)} == {1000 * USD}  # the ask is the older side


def test_a_seller_who_did_not_ship_lists_it_anew(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    buy(deal.bob, listing, now=NOON)
    advance_sales(now=LATER)
    assert Sale.objects.get().end_reason == "not_shipped"
    assert offer_again(now=LATER) == 0
    assert CardListing.objects.get().state == "closed"


@pytest.mark.parametrize(("act", "state"), [(close_card_listing, "closed"), (pause_card_listing, "paused")])
def test_a_listing_that_its_seller_has_closed_stays_closed_and_a_paused_one_paused(deal, act, state):
    listing = list_for_sale(deal.host.cards[:2], now=NOON)
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="CN")
    act(firm=deal.alice, public_id=listing.public_id, actor="t", now=NOON)
    cancel_all()
    assert offer_again(now=LATER) == (state == "paused")
    listing.refresh_from_db()
    assert listing.state == state
    back = listing.lot.get(card=sale.card)
    assert (back.taken_by, back.is_live) == ("", state == "paused")
    assert offer_again(now=LATER) == 0


def test_a_seller_opens_no_closed_listing(deal, lot):
    with pytest.raises(Conflict) as closed:
        open_card_listing(firm=deal.alice, public_id=lot.public_id, actor="t", now=NOON)
    assert closed.value.code == "wrong_state"


@pytest.mark.parametrize("why", ["gone", "another"])
def test_a_card_that_may_not_be_sold_now_is_not_offered(deal, lot, why):
    cancel_all()
    one = lot.lot.order_by("card").first().card
    if why == "gone":
        Card.objects.filter(pk=one.pk).update(firm=make_firm())
    else:
        measure(one, now=LATER, findings=[{"code": "sku_relabelled", "severity": "disqualifying"}])
    assert (offer_again(now=LATER), offer_again(now=LATER)) == (1, 0)
    assert {each.card_id: each.is_live for each in lot.lot.all()}[one.pk] is False
    lot.refresh_from_db()
    assert lot.state == "open"
