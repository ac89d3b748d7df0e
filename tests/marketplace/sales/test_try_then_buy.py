"""Rent the very card, run your own tests, then buy it: the rent counts towards the price."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.leases.models import Lease
from marketplace.ledger.models import Account, AccountKind
from marketplace.sales.models import Sale
from marketplace.sales.selectors import rent_paid_micros
from marketplace.sales.services.bidding import Take, quote
from tests.cards import USD, buy, list_for_sale, measure_for, ship
from tests.factories import fund, make_firm
from tests.market import Market

pytestmark = pytest.mark.django_db
RENTED_FOR = 1200


@pytest.fixture
def rented(frozen):
    """Bob has rented one of Alice's two cards for twenty minutes at 0.40, and given it back."""
    market = Market(frozen)
    fund(market.bob, 5000 * USD)
    host = market.host()
    market.list_cards(host)
    market.order(duration_seconds=RENTED_FOR)
    host.run_everything(frozen.now())
    market.tick()
    market.run_for(RENTED_FOR + 120, host, step=5)
    host.stop_everything(frozen.now())
    market.tick()
    lease = Lease.objects.get()
    assert lease.state == "ended"
    assert 130_000 < lease.settled_micros <= 400_000 * RENTED_FOR // 3600
    return market, host, lease.lease_cards.get().card, lease.settled_micros


def counted(rent):
    """The rent in whole coins, as it counts."""
    return -(-rent // 10_000) * 10_000


def sold(market, host, frozen, days):
    return list_for_sale(host.cards, now=frozen.now(), rent_counts_days=days)


def test_the_rent_of_the_very_card_is_taken_off_its_price(rented, frozen):
    market, host, tried, rent = rented
    listing = sold(market, host, frozen, 30)
    shown = quote(firm=market.bob, take=Take(listing.public_id, 1, "DE", "here"), now=frozen.now())
    rent = counted(rent)
    assert (shown.card_id, shown.price.rent_credit_micros, shown.price.total_micros) == (
        tried.pk,
        rent,
        1020 * USD - rent,
    )
    (sale,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert (sale.card, sale.item_micros, sale.rent_credit_micros) == (tried, 1000 * USD, rent)
    ship(sale, now=frozen.now())
    assert measure_for(sale, now=frozen.now()).state == "released"
    earned = Account.objects.get(firm=market.alice, kind=AccountKind.EARNINGS).balance_micros
    fee = (1000 * USD - rent) * 500 // 10_000 // 10_000 * 10_000  # on what was paid for the card; the hours had theirs
    assert earned == Lease.objects.get().seller_micros + 1000 * USD - rent - fee + 20 * USD


def test_the_other_card_the_other_firm_and_the_past_have_no_part_in_it(rented, frozen):
    market, host, tried, rent = rented
    other = next(card for card in host.cards if card != tried)
    terms = {"seller": market.alice, "currency": "USD", "now": frozen.now()}
    assert rent_paid_micros(buyer=market.bob, card=tried, days=30, **terms) == rent
    assert rent_paid_micros(buyer=market.bob, card=tried, days=0, **terms) == 0
    assert rent_paid_micros(buyer=market.bob, card=other, days=30, **terms) == 0
    assert rent_paid_micros(buyer=make_firm(), card=tried, days=30, **terms) == 0
    later = terms | {"now": frozen.now() + timedelta(days=31)}
    assert rent_paid_micros(buyer=market.bob, card=tried, days=30, **later) == 0


def test_a_seller_who_does_not_count_rent_and_a_named_other_card_cost_the_full_price(rented, frozen):
    market, host, tried, _ = rented
    listing = sold(market, host, frozen, 30)
    other = next(card for card in host.cards if card != tried)
    take = Take(listing.public_id, 1, "DE", "here", card=other.public_id)
    assert quote(firm=market.bob, take=take, now=frozen.now()).price.rent_credit_micros == 0
    two = Take(listing.public_id, 2, "DE", "here")
    assert quote(firm=market.bob, take=two, now=frozen.now()).price.rent_credit_micros == 0
    assert not Sale.objects.exists()


def test_rent_can_pay_for_the_whole_card(rented, frozen):
    market, host, tried, rent = rented
    price = counted(rent)
    listing = list_for_sale(host.cards, now=frozen.now(), ask=price, rent_counts_days=30, shipping_micros=0)
    (sale,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert (sale.card, sale.price.total_micros, sale.rent_credit_micros) == (tried, 0, price)
    ship(sale, now=frozen.now())
    assert measure_for(sale, now=frozen.now()).state == "released"


def test_a_card_that_is_rented_right_now_is_bought_and_ships_after_the_lease(frozen):
    market = Market(frozen)
    fund(market.bob, 5000 * USD)
    host = market.host(count=1)
    market.list_cards(host)
    market.order(duration_seconds=RENTED_FOR)
    host.run_everything(frozen.now())
    market.tick()
    market.run_for(RENTED_FOR // 2, host)
    listing = sold(market, host, frozen, 1)
    (sale,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert sale.rent_credit_micros > 50_000
    assert sale.ships_after_at > frozen.now()
    market.run_for(60, host)
    assert Lease.objects.get().state == "active"  # the lease goes on


def test_rent_counts_once_and_the_next_card_of_the_lot_can_still_be_had(rented, frozen):
    market, host, tried, rent = rented
    listing = sold(market, host, frozen, 30)
    (first,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert (first.card, first.rent_credit_micros) == (tried, counted(rent))
    (second,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert (second.card == tried, second.rent_credit_micros) == (False, 0)
    terms = {"buyer": market.bob, "seller": market.alice, "currency": "USD", "days": 30, "now": frozen.now()}
    ship(first, now=frozen.now())
    assert measure_for(first, now=frozen.now()).state == "released"
    assert rent_paid_micros(card=tried, **terms) == 0  # should it ever be Alice's to sell again
    Sale.objects.filter(pk=first.pk).update(state="refunded")
    assert rent_paid_micros(card=tried, **terms) == rent


def test_who_rented_a_card_that_another_has_bought_can_take_the_others_of_the_lot(rented, frozen):
    market, host, tried, _ = rented
    listing = sold(market, host, frozen, 30)
    carol = make_firm("Carol")
    fund(carol, 5000 * USD)
    assert buy(carol, listing, now=frozen.now(), ships_to="DE", card=tried.public_id)[0].card == tried
    (mine,) = buy(market.bob, listing, now=frozen.now(), ships_to="DE")
    assert (mine.card == tried, mine.rent_credit_micros) == (False, 0)
