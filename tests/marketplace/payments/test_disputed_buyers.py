"""What a buyer began with a payment that it took back: orders and bids leave the book, and a debtor begins nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from marketplace.common.errors import Conflict
from marketplace.ledger.models import AccountKind
from marketplace.matching.rounds import run_due_round
from marketplace.orders.models import Order
from marketplace.orders.services.closing import cancel_disputed_orders
from marketplace.payments.disputes import collect_debts
from marketplace.payments.models import PaymentDispute
from marketplace.sales.services.bidding import cancel_disputed_bids
from tests.cards import bid
from tests.factories import make_firm
from tests.market import Market
from tests.marketplace.payments.test_disputes import DOLLAR, disputed, held
from tests.marketplace.sales.conftest import _photos_and_rules

__all__ = ["_photos_and_rules"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def market(here):
    """Bob has 100 of his own."""

    @dataclass
    class Clock:
        def now(self):
            return here.now

    return Market(Clock())


def waiting_order(market):
    """An order of Bob's that nobody serves; it holds 1."""
    return Order.objects.get(public_id=market.order(max_price_per_gpu_hour="0.100").json()["id"])


def state_of(order):
    order.refresh_from_db()
    return order.state, order.end_reason


def test_while_the_payer_owes_its_open_orders_end_and_their_money_answers_for_the_debt(here, market):
    order = waiting_order(market)
    dispute = disputed(here, market.bob, spent=150 * DOLLAR)
    assert dispute.held_micros == 49 * DOLLAR
    assert cancel_disputed_orders(now=here.now) == 1
    assert cancel_disputed_orders(now=here.now) == 0  # it waits for the matcher already
    run_due_round(now=here.now)
    assert state_of(order) == ("cancelled", "payment_disputed")
    assert held(market.bob, AccountKind.ESCROW, order.public_id) == 0
    collect_debts(now=here.now)
    assert PaymentDispute.objects.get().held_micros == 50 * DOLLAR


def test_where_nothing_is_owed_only_what_is_older_than_the_dispute_ends(here, market):
    before = waiting_order(market)
    disputed(here, market.bob)
    here.advance(minutes=1)
    after = waiting_order(market)
    assert cancel_disputed_orders(now=here.now) == 1
    run_due_round(now=here.now)
    assert state_of(before) == ("cancelled", "payment_disputed")
    assert state_of(after) == ("open", "")


def test_orders_and_bids_of_others_stay(here, market):
    order, card = waiting_order(market), market.host().cards[0]
    open_bid = bid(market.bob, card, now=here.now, limit=10 * DOLLAR)
    disputed(here, make_firm(), spent=50 * DOLLAR)
    assert (cancel_disputed_orders(now=here.now), cancel_disputed_bids(now=here.now)) == (0, 0)
    open_bid.refresh_from_db()
    assert (state_of(order), open_bid.state) == (("open", ""), "open")


def test_bids_for_cards_end_the_same_way(here, market):
    open_bid = bid(market.bob, market.host().cards[0], now=here.now, limit=10 * DOLLAR)
    disputed(here, market.bob, spent=150 * DOLLAR)
    assert (cancel_disputed_bids(now=here.now), cancel_disputed_bids(now=here.now)) == (1, 0)
    assert state_of(open_bid) == ("cancelled", "payment_disputed")
    assert held(market.bob, AccountKind.ESCROW, open_bid.public_id) == 0


def test_who_owes_begins_nothing_new(here, market):
    card = market.host().cards[0]
    disputed(here, market.bob, spent=150 * DOLLAR)
    answer = market.order()
    assert (answer.status_code, answer.json()["code"]) == (409, "debt_owed")
    with pytest.raises(Conflict) as refused:
        bid(market.bob, card, now=here.now, limit=1 * DOLLAR)
    assert refused.value.code == "debt_owed"
    assert not Order.objects.exists()
