"""A card that nobody received, paid with a card payment that its buyer took back: the seller answers for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.disputes import collect_debts
from marketplace.payments.fraud.models import DisputeShare
from marketplace.payments.models import PaymentDispute
from marketplace.sales.models import Sale
from marketplace.sales.services.answering import answer_for_undelivered
from marketplace.sales.services.money import close_sale_escrow
from tests.cards import USD, buy, list_for_sale
from tests.factories import NOON, make_firm
from tests.marketplace.payments.fraud.conftest import Money
from tests.marketplace.payments.fraud.test_shares import seen

LATER = NOON + timedelta(days=20)


@pytest.fixture
def sale(deal):
    """A card of 1020.00 that Carol paid by card, whose money Alice got without its arrival."""
    carol = make_firm("Carol")
    deposit = Money().card(carol, 1500 * USD, NOON)
    (found,) = buy(carol, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, ships_to="DE")
    close_sale_escrow(sale=found, refund_micros=0, now=LATER)
    Sale.objects.filter(pk=found.pk).update(state="released", closed_at=LATER)
    seen(deposit, "needs_response", -1, now=LATER)
    return found


def earnings(firm):
    return balance_micros(firm=firm, kind=AccountKind.EARNINGS, currency="USD")


@pytest.mark.django_db
def test_what_was_paid_for_a_card_that_nobody_received_is_frozen(sale):
    earned = earnings(sale.seller)
    assert earned > 0
    assert answer_for_undelivered(now=LATER) == 1
    share = DisputeShare.objects.get()
    assert (share.seller, share.reason, share.amount_micros) == (sale.seller, "not_delivered", earned)
    assert share.evidence == [
        f"{sale.public_id} was released to the seller, and nobody said that the card was received"
    ]
    collect_debts(now=LATER)
    dispute = PaymentDispute.objects.get()
    assert (earnings(sale.seller), dispute.sellers_micros) == (0, earned)
    assert dispute.missing_micros == sale.price.total_micros - earned


@pytest.mark.django_db
def test_a_card_that_was_received_stays_paid(sale):
    Sale.objects.filter(pk=sale.pk).update(received_at=LATER)
    earned = earnings(sale.seller)
    assert answer_for_undelivered(now=LATER) == 0
    collect_debts(now=LATER)
    assert earnings(sale.seller) == earned
