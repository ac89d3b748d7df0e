"""The export rules on a sale's way: at order, payment and shipping."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict, NotAllowed
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.selectors import waiting_decisions
from marketplace.compliance.services.ruling import rule_on_hold
from marketplace.sales.models import CardBid, Sale
from marketplace.sales.selectors import escrows_needed
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.permission import ask_rules_again
from marketplace.sales.services.silences import advance_sales
from tests.cards import USD, bid, buy, list_for_sale, ship
from tests.factories import NOON, fund, make_firm, make_person

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def listing(deal):
    return list_for_sale(deal.host.cards, now=NOON)


def let_pass(decision, now):
    """An operator's ruling."""
    operator = make_person(is_operator=True)
    rule_on_hold(decision=decision, outcome="allow", reason="seen", documents={}, operator=operator, now=now)


def clear(now):
    """An operator lets pass everything that waits."""
    for decision in waiting_decisions():
        let_pass(decision, now)


def test_a_bid_from_a_blocked_destination_is_refused_and_the_answer_kept(deal, listing):
    with pytest.raises(NotAllowed) as refused:
        bid(deal.bob, deal.host.cards[0], now=NOON, ships_to="RU")
    assert refused.value.code == "compliance_block"
    with pytest.raises(NotAllowed):
        buy(deal.bob, listing, now=NOON, ships_to="RU")
    assert not CardBid.objects.exists()
    assert ComplianceDecision.objects.filter(outcome="block", firm=deal.bob).count() == 2


def test_a_pair_that_the_rules_keep_apart_does_not_meet_and_the_next_one_does(deal, listing):
    blocked = make_firm("Rus", country="RU")
    fund(blocked, 5000 * USD)
    standing = CardBid.objects.create(
        firm=blocked, actor="t", gpu_model=listing.gpu_model, memory_mib=listing.memory_mib, grade_min="F2",
        currency="USD", limit_micros=3000 * USD, count=1, ships_to="FR", address="x", priced_at=NOON,
        expires_at=NOON + DAY, created_at=NOON,
    )  # fmt: skip
    bid(deal.bob, deal.host.cards[0], now=NOON)
    assert match_cards(now=NOON) == 0
    standing.refresh_from_db()
    assert standing.refused_listings == [listing.public_id]
    assert [sale.buyer for sale in Sale.objects.all()] == [deal.bob]


def test_a_held_sale_waits_and_is_paid_when_an_operator_clears_it(deal, listing):
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="CN")
    assert (sale.state, sale.paid_at) == ("agreed", None)
    assert escrows_needed() == {sale.public_id: 1050 * USD}
    assert ask_rules_again(now=NOON) == 0
    clear(NOON + HOUR)
    assert ask_rules_again(now=NOON + HOUR) == 1
    sale.refresh_from_db()
    assert (sale.state, sale.paid_at, sale.deadline_at) == ("paid", NOON + HOUR, NOON + HOUR + 2 * DAY)


def test_a_held_sale_that_nobody_clears_ends_without_anybodys_fault(deal, listing):
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="CN")
    advance_sales(now=sale.deadline_at)
    sale.refresh_from_db()
    assert (sale.state, sale.end_reason, sale.credit_micros) == ("cancelled", "compliance_silent", 0)
    assert escrows_needed() == {}


def test_shipping_that_is_held_stops_the_ship_clock_until_it_is_cleared(deal, listing):
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="VN")
    with pytest.raises(NotAllowed) as held:
        ship(sale, now=NOON + HOUR)
    assert held.value.code == "compliance_hold"
    advance_sales(now=NOON + 3 * DAY)  # it could not be shipped, and that is not the seller's fault
    sale.refresh_from_db()
    assert (sale.state, sale.held_at) == ("paid", NOON + HOUR)
    clear(NOON + 4 * DAY)
    assert ship(sale, now=NOON + 4 * DAY).state == "shipped"


def test_shipping_that_is_blocked_ends_the_sale_with_the_money_back_and_no_credit(deal, listing):
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="MM")
    with pytest.raises(NotAllowed):
        ship(sale, now=NOON + HOUR)
    sale.refresh_from_db()
    assert (sale.state, sale.end_reason, sale.credit_micros) == ("cancelled", "compliance_block", 0)
    with pytest.raises(Conflict):
        ship(sale, now=NOON + HOUR)


def test_what_an_operator_is_asked_are_sales_that_wait_and_nothing_that_was_only_looked_at(deal, listing):
    bid(deal.bob, deal.host.cards[0], now=NOON, ships_to="CN", limit=10 * USD)
    assert not waiting_decisions()  # it is in the book, and no sale yet
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="CN")
    assert {each.subject for each in waiting_decisions()} == {sale.public_id}


def test_a_sale_that_is_over_leaves_the_operators_queue(deal, listing):
    agreed, to_ship = (
        buy(deal.bob, listing, now=NOON, ships_to="CN")[0],
        buy(deal.bob, listing, now=NOON, ships_to="VN")[0],
    )
    with pytest.raises(NotAllowed):
        ship(to_ship, now=NOON + HOUR)
    waiting = list(waiting_decisions())
    assert {each.subject for each in waiting} == {agreed.public_id, to_ship.public_id}
    advance_sales(now=NOON + 9 * DAY)
    assert {*Sale.objects.values_list("state", flat=True)} == {"cancelled"}
    assert not waiting_decisions()
    with pytest.raises(Conflict) as over:
        let_pass(waiting[0], NOON + 9 * DAY)
    assert over.value.code == "case_over"
