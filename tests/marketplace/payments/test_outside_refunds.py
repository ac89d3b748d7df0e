"""Refunds and answers that were given in Stripe's own dashboard: booked like ours, and owed where it was spent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.payments import outside_refunds
from marketplace.payments.models import DepositRefund, GatewayNotice
from marketplace.payments.refunds import refundable_micros
from marketplace.payments.selectors import owes, refuse_debtors
from tests.factories import fund, make_firm, make_person
from tests.marketplace.payments.test_disputes import DOLLAR, disputed, held, loss, move
from tests.marketplace.payments.test_money_out import outside, refund
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)


def in_the_dashboard(here, deposit, cents=4_000):
    return here.sim.client().v1.refunds.create({"payment_intent": deposit.payment_id, "amount": cents})


def test_it_leaves_the_payers_wallet_and_counts_for_what_is_left(here):
    deposit = here.paid(firm := make_firm())
    in_the_dashboard(here, deposit)
    here.hear()
    row = DepositRefund.objects.get()
    assert (row.state, row.is_from_outside, row.missing_micros) == ("paid", True, 0)
    assert (held(firm, AccountKind.WALLET), refundable_micros(deposit)) == (60 * DOLLAR, 60 * DOLLAR)
    assert (loss(here), owes(firm)) == (0, False)
    told = Event.objects.filter(type="deposit_refund.made_outside").values_list("firm_id", flat=True)
    assert set(told) == {firm.pk, None}
    here.hear()
    assert DepositRefund.objects.count() == 1


def test_what_was_spent_of_it_is_owed_and_set_off_against_what_comes_later(here):
    deposit = here.paid(firm := make_firm())
    move(here, firm, AccountKind.WALLET, AccountKind.EARNINGS, 70 * DOLLAR, to=make_firm())
    in_the_dashboard(here, deposit)
    here.hear()
    assert (DepositRefund.objects.get().missing_micros, loss(here)) == (10 * DOLLAR, 10 * DOLLAR)
    with pytest.raises(Conflict) as refused:
        refuse_debtors(firm)
    assert refused.value.code == "debt_owed"
    assert "and you owe" in browser(make_person(firm)).get(url("wallet")).content.decode()
    operator = browser(make_person(is_operator=True))
    assert firm.name in operator.get(url("operator-payments")).content.decode()
    fund(firm, 15 * DOLLAR)
    assert outside_refunds.collect_debts(now=here.now) == 1
    assert (held(firm, AccountKind.WALLET), loss(here), owes(firm)) == (5 * DOLLAR, 0, False)
    assert outside_refunds.collect_debts(now=here.now) == 0


@pytest.mark.parametrize("heard_between", [True, False])
def test_what_the_bank_sends_back_is_the_payers_again(here, heard_between):
    deposit = here.paid(firm := make_firm(), card="pm_card_refundFail")
    move(here, firm, AccountKind.WALLET, AccountKind.EARNINGS, 70 * DOLLAR, to=make_firm())
    in_the_dashboard(here, deposit)
    if heard_between:
        here.hear()
        assert owes(firm)
    here.advance(hours=2)
    here.hear()
    assert DepositRefund.objects.get().state == "failed"
    assert (held(firm, AccountKind.WALLET), owes(firm)) == (30 * DOLLAR, False)
    ours, theirs = outside(here)
    assert ours == theirs


def test_our_own_refund_whose_answer_was_lost_is_not_taken_for_one_of_the_dashboard(here):
    deposit = here.paid(firm := make_firm())
    refund(here, deposit, 40 * DOLLAR)
    here.fault("reply_lost", operation="POST /v1/refunds")
    here.work()
    here.hear()
    assert GatewayNotice.objects.filter(state="waiting", object_type="refund").exists()
    here.work_through()
    here.now += timedelta(minutes=1)
    here.look()
    row = DepositRefund.objects.get()
    assert (row.state, row.is_from_outside) == ("paid", False)
    assert held(firm, AccountKind.WALLET) == 60 * DOLLAR
    ours, theirs = outside(here)
    assert ours == theirs


def test_a_dispute_that_was_accepted_in_the_dashboard_is_lost(here):
    dispute = disputed(here, firm := make_firm())
    here.sim.client().v1.disputes.close(dispute.object_id)
    here.hear()
    dispute.refresh_from_db()
    assert (dispute.state, held(firm, AccountKind.WALLET), loss(here)) == ("lost", 0, 0)
