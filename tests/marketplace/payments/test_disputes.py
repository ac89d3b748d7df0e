"""Disputed deposits: the right money is frozen, both ends are booked, and what is missing is set off later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict
from marketplace.leases.models import Lease
from marketplace.leases.services.disputed import end_disputed_leases
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments.disputes import collect_debts, dispute_seen, submit_evidence
from marketplace.payments.gateway import GatewayError
from marketplace.payments.inbox import look_at
from marketplace.payments.models import PaymentDispute
from marketplace.payments.refunds import refund_deposit
from marketplace.payments.services import look_at_payment
from tests.factories import api_of, fund, make_firm, make_person
from tests.market import Market
from tests.marketplace.payments.test_money_out import outside
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 1_000_000
WINNING, LOSING = "winning_evidence", "losing_evidence"  # https://docs.stripe.com/testing#evidence


def held(firm, kind, ref=""):
    return balance_micros(firm=firm, kind=kind, currency="USD", ref=ref)


def move(here, firm, out_of, into, micros, to):
    legs = [Leg(account_for(firm=firm, kind=out_of, currency="USD"), -micros)]
    legs.append(Leg(account_for(firm=to, kind=into, currency="USD"), micros))
    ref = f"move:{firm.pk}:{out_of}:{into}:{micros}"
    post(ref=ref, code=Code.SETTLEMENT, legs=legs, now=here.now)


def disputed(here, firm, *, spent=0):
    """A deposit of 100 that the payer disputes after it has spent some of it."""
    deposit = here.deposit(firm)
    here.work()
    here.pay(deposit, "pm_card_createDispute")
    book_payment(here, deposit)
    if spent:
        move(here, firm, AccountKind.WALLET, AccountKind.EARNINGS, spent, to=make_firm())
    here.advance(minutes=1)
    here.hear()
    return PaymentDispute.objects.select_related("deposit__firm").get()


def book_payment(here, deposit):
    deposit.refresh_from_db()
    look_at_payment(deposit, here.now)
    here.look()


def send(here, dispute, words):
    submit_evidence(
        operator=make_person(is_operator=True), dispute_id=dispute.public_id, words=words, key=words, now=here.now
    )
    here.work()
    here.advance(seconds=1)
    here.hear()
    dispute.refresh_from_db()


def loss(here):
    """The platform's loss, after it was seen that our clearing and Stripe's balance are the same."""
    ours, theirs = outside(here)
    assert ours == theirs
    return -held(None, AccountKind.DISPUTE_LOSS)


def test_the_payers_wallet_is_frozen_and_free_again_when_the_dispute_is_won(here):
    firm = make_firm()
    dispute = disputed(here, firm)
    assert (dispute.state, dispute.held_micros, dispute.missing_micros) == ("open", 100 * DOLLAR, 0)
    assert (held(firm, AccountKind.WALLET), held(firm, AccountKind.FROZEN, dispute.public_id)) == (0, 100 * DOLLAR)
    assert loss(here) == 100 * DOLLAR
    send(here, dispute, WINNING)
    assert dispute.state == "won"
    assert (held(firm, AccountKind.WALLET), held(firm, AccountKind.FROZEN, dispute.public_id)) == (100 * DOLLAR, 0)
    assert loss(here) == 0


def test_what_is_frozen_makes_good_a_lost_dispute(here):
    firm = make_firm()
    dispute = disputed(here, firm)
    send(here, dispute, LOSING)
    assert dispute.state == "lost"
    assert (held(firm, AccountKind.WALLET), loss(here)) == (0, 0)


def test_wallet_first_then_earnings_and_each_gets_its_own_back(here):
    firm = make_firm()
    fund(other := make_firm(), 70 * DOLLAR)
    move(here, other, AccountKind.WALLET, AccountKind.EARNINGS, 70 * DOLLAR, to=firm)
    dispute = disputed(here, firm, spent=60 * DOLLAR)
    assert dispute.missing_micros == 0
    assert (held(firm, AccountKind.WALLET), held(firm, AccountKind.EARNINGS)) == (0, 10 * DOLLAR)
    send(here, dispute, WINNING)
    assert (held(firm, AccountKind.WALLET), held(firm, AccountKind.EARNINGS)) == (40 * DOLLAR, 70 * DOLLAR)


def test_what_is_missing_is_set_off_against_what_comes_later(here):
    firm = make_firm()
    dispute = disputed(here, firm, spent=75 * DOLLAR)
    assert (dispute.held_micros, dispute.missing_micros) == (25 * DOLLAR, 75 * DOLLAR)
    send(here, dispute, LOSING)
    assert loss(here) == 75 * DOLLAR
    fund(firm, 30 * DOLLAR)
    assert collect_debts(now=here.now) == 1
    assert (held(firm, AccountKind.WALLET), loss(here)) == (0, 45 * DOLLAR)
    fund(firm, 50 * DOLLAR)
    collect_debts(now=here.now)
    assert (held(firm, AccountKind.WALLET), loss(here)) == (5 * DOLLAR, 0)
    assert collect_debts(now=here.now) == 0


def test_a_dispute_that_is_heard_of_before_its_payment_waits_for_it(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    here.work()
    here.pay(deposit, "pm_card_createDispute")
    here.advance(minutes=1)
    (there,) = here.sim.client().v1.disputes.list({}).data
    look_at("stripe", "dispute", there.id, now=here.now)
    here.look()
    assert not PaymentDispute.objects.exists()
    here.hear()
    here.now += timedelta(minutes=5)
    here.look()
    assert held(firm, AccountKind.FROZEN, PaymentDispute.objects.get().public_id) == 100 * DOLLAR


def test_nobody_answers_and_it_is_lost(here):
    dispute = disputed(here, make_firm())
    here.advance(days=10)
    here.hear()
    dispute.refresh_from_db()
    assert (dispute.state, loss(here)) == ("lost", 0)


def test_a_bank_that_only_asks_takes_nothing(here):
    firm = make_firm()
    deposit = here.paid(firm, card="pm_card_createDisputeInquiry")
    here.hear()
    assert deposit.state == "confirmed"
    assert not PaymentDispute.objects.exists()
    assert held(firm, AccountKind.WALLET) == 100 * DOLLAR


def test_a_disputed_deposit_does_not_go_back_to_the_card_as_well(here):
    firm = make_firm()
    dispute = disputed(here, firm)
    fund(firm, 100 * DOLLAR)
    with pytest.raises(Conflict, match="payer's bank has this"):
        refund_deposit(
            firm=firm, deposit_id=dispute.deposit.public_id, amount_micros=DOLLAR, key="r", now=here.now, actor="test"
        )


def test_an_operator_sends_our_records_once_and_the_payer_sees_what_is_held(here):
    firm = make_firm()
    payer = browser(make_person(firm))
    dispute = disputed(here, firm, spent=75 * DOLLAR)
    operator = browser(make_person(is_operator=True))
    page = operator.get(url("operator-payments")).content.decode()
    assert "What our records say" in page
    assert "Hours used" in page
    assert "is disputed at your bank" in payer.get(url("wallet")).content.decode()
    form = {"words": "The hours were used.", "key": "k"}
    assert payer.post(url("evidence-send", dispute.public_id), form).status_code == 404
    for key in ("k", "k2"):
        operator.post(url("evidence-send", dispute.public_id), form | {"key": key})
    assert here.work() == 1
    here.look()
    sent = here.sim.client().v1.disputes.retrieve(dispute.object_id).evidence
    assert sent.uncategorized_text == "The hours were used."
    assert "75.000000 USD" in sent.access_activity_log
    dispute.refresh_from_db()
    assert dispute.state == "answered"


def test_running_leases_end_as_disputed_and_those_of_others_go_on(here):
    @dataclass
    class Clock:
        def now(self):
            return here.now

    market = Market(Clock())
    host = market.host()
    market.list_cards(host)
    market.order()
    lease = Lease.objects.get()
    assert lease.buyer == market.bob
    disputed(here, make_firm())
    assert end_disputed_leases(now=here.now) == 0
    PaymentDispute.objects.update(deposit=here.deposit(market.bob, key="bobs"))
    assert end_disputed_leases(now=here.now) == 1
    lease.refresh_from_db()
    assert lease.end_reason == "payment_disputed"


def told(deposit, status, *, currency="USD", taken=100 * DOLLAR):
    """What is fetched of a dispute that the simulator does not have."""
    entry = {"id": "txn_of_it", "currency": currency, "amount_micros": -taken, "fee_micros": 15 * DOLLAR}
    return {
        "dispute_id": "du_1", "deposit_id": deposit.public_id, "status": status, "is_inquiry": False,
        "reason": "fraudulent", "currency": currency, "amount_micros": 100 * DOLLAR, "answer_by": None,
        "entries": [entry],
    }  # fmt: skip


@pytest.mark.parametrize("status", ["appeal_needs_response", "appeal_under_review", "prevented"])
def test_what_the_bank_has_taken_and_may_give_back_is_lost_until_it_does(here, status):
    deposit = here.paid(firm := make_firm())
    dispute_seen(told(deposit, "lost"), here.now)
    dispute_seen(told(deposit, status), here.now)
    assert (PaymentDispute.objects.get().state, held(firm, AccountKind.WALLET)) == ("lost", 0)
    dispute_seen(told(deposit, "won"), here.now)
    assert held(firm, AccountKind.WALLET) == 100 * DOLLAR


def test_a_dispute_in_another_currency_asks_an_operator(here):
    deposit = here.paid(make_firm())
    with pytest.raises(GatewayError) as refused:
        dispute_seen(told(deposit, "needs_response", currency="EUR"), here.now)
    assert refused.value.trouble == "ask"
    assert not PaymentDispute.objects.exists()


def test_who_owes_sends_nothing_back_to_a_card(here):
    disputed(here, firm := make_firm(), spent=75 * DOLLAR)
    other = here.paid(firm, key="k2")
    with pytest.raises(Conflict) as refused:
        refund_deposit(firm=firm, deposit_id=other.public_id, amount_micros=DOLLAR, key="r", now=here.now, actor="test")
    assert refused.value.code == "debt_owed"


def test_by_the_api_a_firm_reads_what_is_held_and_owed(here):
    dispute = disputed(here, firm := make_firm(), spent=75 * DOLLAR)
    client = api_of(firm)
    (shown,) = client.get("/api/v1/payment-disputes/", {"state": "open"}).json()["data"]
    amounts = {name: shown[name]["amount"] for name in ("amount", "held", "owed")}
    assert amounts == {"amount": "100.000000", "held": "25.000000", "owed": "75.000000"}
    assert (shown["id"], shown["deposit"]) == (dispute.public_id, dispute.deposit.public_id)
    send(here, dispute, WINNING)
    shown = client.get(f"/api/v1/payment-disputes/{dispute.public_id}/").json()
    assert (shown["state"], shown["held"]["amount"], shown["owed"]["amount"]) == ("won", "0.000000", "0.000000")
    assert client.get("/api/v1/payment-disputes/", {"state": "open"}).json()["data"] == []
