"""Bids, asks and the sales that come of them: money, claims, the tape."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listings.cards.services import change_card_listing, pause_card_listing
from marketplace.book.models import CardTrade
from marketplace.common.errors import Conflict, Invalid, Unprocessable
from marketplace.ledger.models import Account, AccountKind
from marketplace.ledger.services import InsufficientFunds
from marketplace.sales.models import CardBid, Sale
from marketplace.sales.selectors import escrows_needed
from marketplace.sales.services.bidding import Take, buy_once, cancel_bid, change_bid, expire_bids, quote
from marketplace.sales.services.matching import match_cards
from marketplace.sales.supply import card_asks
from nodes.models import Card, Claim, IdentityChange, IdentityConflict, Node
from nodes.services.claims import take_claims
from nodes.states import ClaimKind, NodeState
from tests.cards import USD, bid, buy, list_for_sale, measure
from tests.factories import NOON, fund, make_firm
from tests.hosts import Host

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(hours=1)


def wallet(firm):
    found = Account.objects.filter(firm=firm, kind=AccountKind.WALLET, currency="USD").first()
    return found.balance_micros if found else 0


def escrows():
    held = Account.objects.filter(kind=AccountKind.ESCROW, balance_micros__gt=0)
    return dict(held.values_list("ref", "balance_micros"))


def test_taking_an_ask_makes_a_sale_with_claim_money_and_a_line_on_the_tape(deal):
    listing = list_for_sale(deal.host.cards[:2], now=NOON)
    (sale,) = buy(deal.bob, listing, now=LATER)
    assert (sale.state, sale.item_micros, sale.price.total_micros) == ("paid", 1000 * USD, 1050 * USD)
    assert wallet(deal.bob) == 10_000 * USD - 1050 * USD
    assert escrows() == {sale.public_id: 1050 * USD} == escrows_needed()
    claim = Claim.objects.get()
    assert (claim.kind, claim.holder, claim.period.lower, claim.period.upper) == ("sale", sale.public_id, LATER, None)
    trade = CardTrade.objects.get()
    assert (trade.price_micros, trade.zone, trade.function_grade) == (1000 * USD, "eu", "F1")
    assert listing.lot.get(card=sale.card).taken_by == sale.public_id
    assert sale.deadline_at == LATER + timedelta(days=2)


def test_a_lot_is_sold_in_parts_until_it_closes(deal):
    listing = list_for_sale(deal.host.cards, now=NOON)
    assert len(buy(deal.bob, listing, now=NOON, count=2)) == 2
    with pytest.raises(Conflict) as gone:
        buy(deal.bob, listing, now=NOON, count=2)
    assert gone.value.code == "offer_gone"
    buy(deal.bob, listing, now=NOON)
    listing.refresh_from_db()
    assert (listing.state, Sale.objects.count()) == ("closed", 3)
    assert wallet(deal.bob) == (10_000 - 3 * 1050) * USD


def test_a_resting_bid_is_met_by_a_later_ask_at_its_own_price(deal):
    resting = bid(deal.bob, deal.host.cards[0], now=NOON, limit=1200 * USD, count=2)
    assert escrows() == {resting.public_id: 2400 * USD}
    list_for_sale(deal.host.cards[:1], now=LATER)
    assert match_cards(now=LATER) == 1
    sale = Sale.objects.get()
    assert (sale.item_micros, sale.price.total_micros) == (1150 * USD, 1200 * USD)
    resting.refresh_from_db()
    assert (resting.state, resting.filled_count) == ("open", 1)
    assert escrows() == {resting.public_id: 1200 * USD, sale.public_id: 1200 * USD} == escrows_needed()


def test_a_better_price_than_the_limit_returns_to_the_wallet(deal):
    list_for_sale(deal.host.cards[:1], now=NOON)
    bid(deal.bob, deal.host.cards[0], now=LATER, limit=2000 * USD)
    assert wallet(deal.bob) == (10_000 - 1050) * USD


def test_nobody_buys_of_himself(deal):
    fund(deal.alice, 5000 * USD)
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    with pytest.raises(Conflict) as refused:
        buy(deal.alice, listing, now=NOON)
    assert refused.value.code == "self_trade"
    bid(deal.alice, deal.host.cards[0], now=NOON)
    assert not Sale.objects.exists()


def test_editing_a_bid_holds_more_or_returns_some_and_loses_its_age_with_a_new_limit(deal):
    mine = bid(deal.bob, deal.host.cards[0], now=NOON, limit=100 * USD)

    def edit(**changes):
        return change_bid(firm=deal.bob, public_id=mine.public_id, changes=changes, actor="test", now=LATER)

    assert edit(expires_at=LATER + timedelta(days=1)).priced_at == NOON
    edit(count=3)
    assert escrows() == {mine.public_id: 300 * USD}
    assert edit(limit_micros=50 * USD).priced_at == LATER
    assert escrows() == {mine.public_id: 150 * USD}
    with pytest.raises(InsufficientFunds):
        edit(limit_micros=5000 * USD)


def test_a_cancelled_and_an_expired_bid_give_all_their_money_back(deal):
    one, two = (bid(deal.bob, deal.host.cards[0], now=NOON, limit=100 * USD) for _ in range(2))
    cancel_bid(firm=deal.bob, public_id=one.public_id, actor="test", now=LATER)
    with pytest.raises(Conflict):
        cancel_bid(firm=deal.bob, public_id=one.public_id, actor="test", now=LATER)
    expire_bids(now=two.expires_at)
    assert [each.state for each in CardBid.objects.order_by("pk")] == ["cancelled", "expired"]
    assert (wallet(deal.bob), escrows()) == (10_000 * USD, {})


def test_a_bid_without_money_holds_nothing(deal):
    with pytest.raises(InsufficientFunds):
        bid(make_firm(), deal.host.cards[0], now=NOON)
    assert not CardBid.objects.exists()


def test_the_same_key_buys_once_and_not_something_else(deal):
    listing = list_for_sale(deal.host.cards, now=NOON)
    take = Take(listing=listing.public_id, count=1, ships_to="FR", address="here")

    def again(body):
        return buy_once(firm=deal.bob, actor="test", take=take, key="k", body=body, now=NOON)

    assert again({"count": 1}).pk == again({"count": 1}).pk
    with pytest.raises(Unprocessable):
        again({"count": 2})
    assert Sale.objects.count() == 1


def test_a_leased_card_ships_after_its_last_lease_and_not_at_all_when_that_is_too_far(deal):
    soon, late, free = (card.pk for card in deal.host.cards)
    for card, days in ((soon, 10), (late, 31)):
        end = NOON + timedelta(days=days)
        take_claims(cards=[card], start=NOON, end=end, kind=ClaimKind.LEASE, holder=f"lse_{days}")
    listing = list_for_sale(deal.host.cards, now=NOON)
    first, second = buy(deal.bob, listing, now=NOON)[0], buy(deal.bob, listing, now=NOON)[0]
    assert (first.card_id, first.ships_after_at) == (free, NOON)
    assert (second.card_id, second.ships_after_at) == (soon, NOON + timedelta(days=10))
    assert second.deadline_at == NOON + timedelta(days=14)  # two working days after a Thursday
    with pytest.raises(Conflict):
        buy(deal.bob, listing, now=NOON)
    assert buy(deal.bob, listing, now=NOON + timedelta(days=1, hours=1))


def test_what_became_unsellable_since_it_was_listed_is_not_sold(deal):
    one, two, three = deal.host.cards
    listing = list_for_sale(deal.host.cards, now=NOON)
    IdentityChange.objects.create(
        card=one, node=one.node, changes={"serial": ["1", "2"]}, is_blocking=True, seen_at=NOON
    )
    Card.objects.filter(pk=two.pk).update(firm=make_firm())
    measure(three, now=NOON, findings=[{"code": "virtualised", "severity": "disqualifying"}])
    with pytest.raises(Conflict):
        buy(deal.bob, listing, now=NOON)


def test_a_card_that_changed_is_in_the_book_only_with_a_newer_passport(deal):
    (card,) = deal.host.cards[:1]
    listing = list_for_sale([card], now=NOON)
    IdentityChange.objects.create(
        card=card, node=card.node, changes={"vbios": ["1", "2"]}, is_blocking=True, seen_at=LATER, accepted_at=LATER
    )
    assert card_asks(now=LATER) == []  # what can't be bought is not offered
    with pytest.raises(Conflict):
        buy(deal.bob, listing, now=LATER)
    measure(card, now=LATER)
    assert [each.key for each in card_asks(now=LATER)] == [listing.public_id]
    assert [each.card for each in buy(deal.bob, listing, now=LATER)] == [card]


def test_a_stranger_who_names_a_cards_uuid_stops_no_sale_of_it(deal):
    (card,) = deal.host.cards[:1]
    listing = list_for_sale([card], now=NOON)
    IdentityConflict.objects.create(card=card, newcomer=Host(make_firm(), NOON, count=0).node, seen_at=NOON)
    assert [each.card for each in buy(deal.bob, listing, now=NOON)] == [card]


def test_nothing_of_a_node_that_nobody_believes_is_for_sale(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    assert card_asks(now=NOON)
    Node.objects.filter(pk=deal.host.node.pk).update(state=NodeState.QUARANTINED)
    assert card_asks(now=NOON) == []
    with pytest.raises(Conflict):
        buy(deal.bob, listing, now=NOON)


def test_an_expired_passport_takes_the_card_out_of_the_book_until_it_is_measured_again(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    after = NOON + timedelta(days=15)
    with pytest.raises(Conflict):
        buy(deal.bob, listing, now=after)
    measure(deal.host.cards[0], now=after)
    assert buy(deal.bob, listing, now=after)


def test_a_paused_listing_is_not_in_the_book(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    pause_card_listing(firm=deal.alice, public_id=listing.public_id, actor="test", now=NOON)
    bid(deal.bob, deal.host.cards[0], now=NOON)
    assert not Sale.objects.exists()


def test_the_landed_price_is_known_before_and_a_higher_one_is_a_stale_quote(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    here = {"count": 1, "address": "x"}
    abroad = quote(firm=deal.bob, take=Take(listing=listing.public_id, ships_to="FR", **here), now=NOON)
    home = quote(firm=deal.bob, take=Take(listing=listing.public_id, ships_to="DE", **here), now=NOON)
    assert (abroad.price.total_micros, home.price.total_micros) == (1050 * USD, 1020 * USD)
    change_card_listing(
        firm=deal.alice, public_id=listing.public_id, changes={"ask_micros": 1100 * USD}, actor="test", now=NOON
    )
    with pytest.raises(Conflict) as stale:
        buy(deal.bob, listing, now=NOON, most_micros=1050 * USD)
    assert stale.value.code == "quote_stale"


class GermanVat:
    """A tax as an installation may set it."""

    def basis_points(self, supply):
        return 1900 if (supply.kind, supply.to_country) == ("card", "DE") else 0


def test_the_tax_hook_adds_to_what_the_buyer_pays_and_goes_to_the_seller(deal, settings):
    settings.TAX_STEP = f"{__name__}:GermanVat"
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="DE")
    assert (sale.tax_micros, sale.price.total_micros) == (193_800_000, 1_213_800_000)


def test_a_wrong_bid_is_refused(deal):
    with pytest.raises(Invalid):
        bid(deal.bob, deal.host.cards[0], now=NOON, gpu="no-such-gpu")
    with pytest.raises(Invalid):
        bid(deal.bob, deal.host.cards[0], now=NOON, currency="XXX")
    with pytest.raises(Invalid):
        bid(deal.bob, deal.host.cards[0], now=NOON, expires_at=NOON + timedelta(days=31))
