"""Earnings to sellers' accounts, deposits back to their cards, and a seller's money back before its payer's."""

from __future__ import annotations

import threading

import pytest
import stripe
from django.db import connection, transaction

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import InsufficientFunds, Leg, post
from marketplace.payments.gateway import GatewayError
from marketplace.payments.models import DepositRefund, GatewayCall, SellerTransfer
from marketplace.payments.outbox import CLAIMED_FOR, try_call_again
from marketplace.payments.refunds import refund_deposit, refund_from_seller, refund_seen
from marketplace.payments.sellers import look_again, open_account
from marketplace.payments.stripe_gateway.calls import moved
from marketplace.payments.transfers import send_earnings
from tests.factories import api_of, make_firm, make_person
from tests.marketplace.payments.test_inbox import elsewhere
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url
from tests.stripesim import until

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = "pm_card_bypassPending"  # available at once
DOLLAR = 1_000_000


def held(firm, kind, ref=""):
    return balance_micros(firm=firm, kind=kind, currency="USD", ref=ref)


def outside(here):
    """What the clearing account says is outside, and what Stripe says, in cents."""
    balance = here.sim.client().v1.balance.retrieve()
    there = sum(each.amount for each in (*balance.available, *balance.pending) if each.currency == "usd")
    return -held(None, AccountKind.CLEARING, "stripe") // 10_000, there


def earn(here, buyer, seller, micros):
    """The buyer pays the seller out of its wallet."""
    legs = [
        Leg(account_for(firm=buyer, kind=AccountKind.WALLET, currency="USD"), -micros),
        Leg(account_for(firm=seller, kind=AccountKind.EARNINGS, currency="USD"), micros),
    ]
    post(ref=f"earn:{buyer.pk}:{seller.pk}:{micros}", code=Code.SETTLEMENT, legs=legs, now=here.now)


@pytest.fixture
def seller(here):
    """A seller whose account is ready."""
    firm = make_firm("Seller")
    account, _ = open_account(firm=firm, idempotency_key="open", now=here.now)
    here.work()
    account.refresh_from_db()
    here.sim.sim("onboard", {"account": account.account_id})
    look_again(firm, here.now)
    here.look()
    return firm


@pytest.fixture
def paid(here, seller):
    """A deposit of 100 of which the seller has earned 60.50009, long ago."""
    deposit = here.paid(make_firm("Buyer"), card=AT_ONCE)
    earn(here, deposit.firm, seller, 60_500_090)
    here.advance(days=8)
    return deposit


def send(here):
    begun = send_earnings(now=here.now)
    here.work()
    return begun


def test_earnings_that_have_cleared_are_sent_and_what_is_less_than_a_coin_stays(here, seller, paid):
    earn(here, paid.firm, seller, 5 * DOLLAR)
    assert send(here) == 1
    transfer = SellerTransfer.objects.get()
    assert (transfer.state, transfer.amount_micros) == ("paid", 60_500_000)
    assert held(seller, AccountKind.EARNINGS) == 5 * DOLLAR + 90
    assert held(seller, AccountKind.PAYOUT, transfer.public_id) == 0
    (there,) = here.sim.client().v1.transfers.list({}).data
    assert (there.amount, there.id) == (6_050, transfer.object_id)
    ours, theirs = outside(here)
    assert ours == theirs
    assert send(here) == 0


def test_while_stripe_has_not_the_money_yet_the_transfer_waits(here, seller, settings):
    settings.EARNINGS_CLEAR_DAYS = 0
    deposit = here.paid(make_firm())  # available after two days
    earn(here, deposit.firm, seller, 60 * DOLLAR)
    send(here)
    call = GatewayCall.objects.get(operation="transfer")
    assert (call.state, call.error_code) == ("waiting", "balance_insufficient")
    here.advance(days=3)
    here.work()
    assert SellerTransfer.objects.get().state == "paid"


@pytest.mark.parametrize("fault", ["reply_lost", "error_after"])
def test_a_lost_answer_sends_once(here, seller, paid, fault):
    here.fault(fault, operation="POST /v1/transfers")
    send(here)
    here.work_through()
    assert len(here.sim.client().v1.transfers.list({}).data) == 1
    ours, theirs = outside(here)
    assert ours == theirs


def refund(here, deposit, micros, key="r"):
    return refund_deposit(
        firm=deposit.firm, deposit_id=deposit.public_id, amount_micros=micros, key=key, now=here.now, actor="test"
    )[0]


def test_a_deposit_goes_back_to_its_card_out_of_the_wallet(here):
    deposit = here.paid(make_firm())
    refund(here, deposit, 40 * DOLLAR)
    assert held(deposit.firm, AccountKind.WALLET) == 60 * DOLLAR
    here.work()
    here.look()
    row = DepositRefund.objects.get()
    assert (row.state, held(deposit.firm, AccountKind.PAYOUT, row.public_id)) == ("paid", 0)
    ours, theirs = outside(here)
    assert ours == theirs
    with pytest.raises(Conflict, match="not left"):
        refund(here, deposit, 61 * DOLLAR, "r2")


def test_what_was_spent_does_not_go_back(here, seller, paid):
    with pytest.raises(InsufficientFunds):
        refund(here, paid, 50 * DOLLAR)
    assert not DepositRefund.objects.exists()


def test_a_refund_that_the_bank_sends_back_is_in_the_wallet_again(here):
    deposit = here.paid(make_firm(), card="pm_card_refundFail")
    refund(here, deposit, 40 * DOLLAR)
    here.work()
    here.look()
    here.advance(hours=2)
    here.hear()
    assert DepositRefund.objects.get().state == "failed"
    assert held(deposit.firm, AccountKind.WALLET) == 100 * DOLLAR
    ours, theirs = outside(here)
    assert ours == theirs


def test_after_the_release_the_sellers_account_gives_it_back_before_the_payer_gets_it(here, seller, paid):
    send(here)
    operator = make_person(is_operator=True)
    refund_from_seller(
        operator=operator, deposit_id=paid.public_id, seller=seller, amount_micros=30 * DOLLAR, key="k", now=here.now
    )
    calls = GatewayCall.objects.filter(operation__in=["reverse_transfer", "refund"]).order_by("pk")
    assert [(each.operation, each.after_id) for each in calls] == [("reverse_transfer", None), ("refund", calls[0].pk)]
    here.work()
    here.look()
    assert DepositRefund.objects.get().state == "paid"
    (transfer,) = here.sim.client().v1.transfers.list({}).data
    assert transfer.amount_reversed == 3_000
    assert held(seller, AccountKind.EARNINGS) == 90
    ours, theirs = outside(here)
    assert ours == theirs


def test_a_sellers_account_that_is_empty_stops_the_refund_and_asks_an_operator(here, seller, paid):
    send(here)
    account = SellerTransfer.objects.get().account.account_id
    options = {"stripe_account": account}
    here.sim.client().v1.payouts.create({"amount": 6_050, "currency": "usd"}, options)
    refund_from_seller(
        operator=make_person(is_operator=True), deposit_id=paid.public_id, seller=seller, amount_micros=30 * DOLLAR,
        key="k", now=here.now,
    )  # fmt: skip
    here.work()
    assert GatewayCall.objects.get(operation="reverse_transfer").error_code == "balance_insufficient"
    assert GatewayCall.objects.get(operation="refund").state == "waiting"
    assert here.sim.client().v1.refunds.list({}).data == []


def test_by_the_api_and_on_the_page_a_firm_sends_a_deposit_back_once(here):
    firm = make_firm()
    deposit = here.paid(firm)
    client, buyer = api_of(firm), browser(make_person(firm))
    path, headers = f"/api/v1/deposits/{deposit.public_id}/refund/", {"Idempotency-Key": "back"}
    answers = [client.post(path, {"amount": "10.00"}, format="json", headers=headers) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 200]
    page = buyer.get(url("deposit", deposit.public_id)).content.decode()
    assert "Send back to the card" in page
    for _ in range(2):
        buyer.post(url("deposit-refund", deposit.public_id), {"amount": "5.00", "key": "p"})
    assert held(firm, AccountKind.WALLET) == 85 * DOLLAR
    assert client.post(path, {"amount": "0.001"}, format="json", headers={"Idempotency-Key": "x"}).status_code == 400
    assert client.post(path, {"amount": "1"}, format="json").status_code == 400


def test_an_operator_sends_back_out_of_a_sellers_money_on_the_page(here, seller, paid):
    form = {"deposit": paid.public_id, "seller": seller.public_id, "amount": "20.00", "key": "k"}
    assert browser(make_person(paid.firm)).post(url("seller-refund"), form).status_code == 404
    operator = browser(person := make_person(is_operator=True))
    operator.post(url("seller-refund"), form)
    told = Event.objects.filter(type="deposit_refund.created").values_list("firm_id", "actor").order_by("pk")
    assert list(told) == [(firm_id, person.public_id) for firm_id in (paid.firm.pk, seller.pk, None)]
    assert "out of a seller" in operator.get(url("operator-payments")).content.decode()
    assert held(seller, AccountKind.EARNINGS) == 40_500_090


def test_a_refund_whose_money_did_not_come_back_from_the_seller_can_only_be_given_up(here, seller, paid):
    send(here)
    options = {"stripe_account": SellerTransfer.objects.get().account.account_id}
    here.sim.client().v1.payouts.create({"amount": 6_050, "currency": "usd"}, options)
    operator = make_person(is_operator=True)
    earn(here, paid.firm, seller, 5 * DOLLAR)
    refund_from_seller(
        operator=operator, deposit_id=paid.public_id, seller=seller, amount_micros=30 * DOLLAR, key="k", now=here.now
    )
    here.work()
    for operation in ("reverse_transfer", "refund"):
        call = GatewayCall.objects.get(operation=operation)
        if operation == "refund":
            assert call.state == "asking"
            with pytest.raises(Conflict, match="only be given up"):
                try_call_again(operator=operator, call_id=call.public_id, now=here.now)
        try_call_again(operator=operator, call_id=call.public_id, now=here.now, give_up=True)
        here.now += CLAIMED_FOR
        here.work()
    assert DepositRefund.objects.get().state == "failed"
    assert SellerTransfer.objects.get().reversed_micros == 0
    assert held(seller, AccountKind.EARNINGS) == 5 * DOLLAR + 90


def test_what_stripe_keeps_of_a_refund_is_the_platforms_expense(here):
    deposit = here.paid(make_firm())
    fee = held(None, AccountKind.GATEWAY_FEE, "stripe")
    refund(here, deposit, 40 * DOLLAR)
    here.work()
    row = DepositRefund.objects.get()
    entry = {"id": "txn_1", "currency": "USD", "amount_micros": -40 * DOLLAR, "fee_micros": 300_000}
    fact = {"refund_id": row.object_id, "status": "succeeded", "entry": entry, "came_back": None}
    with pytest.raises(GatewayError, match="moved"):
        refund_seen(fact | {"entry": entry | {"amount_micros": -41 * DOLLAR}}, here.now)
    refund_seen(fact, here.now)
    assert held(None, AccountKind.GATEWAY_FEE, "stripe") == fee - 300_000
    assert held(deposit.firm, AccountKind.PAYOUT, row.public_id) == 0


def test_earnings_that_are_taken_while_they_are_sent_hold_no_other_seller_up(here, seller, paid):
    """A debt takes them, after the transfer has begun to look how much there is."""
    earnings = account_for(firm=seller, kind=AccountKind.EARNINGS, currency="USD")
    loss = account_for(firm=None, kind=AccountKind.DISPUTE_LOSS, currency="USD")
    found = []
    with transaction.atomic():
        legs = [Leg(earnings, -60 * DOLLAR), Leg(loss, 60 * DOLLAR)]
        post(ref="debt", code=Code.SET_OFF, legs=legs, now=here.now)
        thread = threading.Thread(target=lambda: found.append(elsewhere(lambda: send_earnings(now=here.now))))
        thread.start()
        assert until(somebody_waits)
    thread.join()
    assert found == [0]


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def test_a_new_sellers_reserve_stays_here(here, seller, paid, settings):
    settings.PAYOUT_RESERVE_BASIS_POINTS = 1000
    send(here)
    assert SellerTransfer.objects.get().amount_micros == 54_450_000
    assert held(seller, AccountKind.EARNINGS) == 60_500_090 - 54_450_000


def test_a_transfer_that_stripe_has_not_in_its_books_yet_is_looked_at_again():
    with pytest.raises(GatewayError) as refused:
        moved(stripe.Transfer.construct_from({"id": "tr_1", "balance_transaction": None}, "sk_test_x"))
    assert refused.value.trouble == "look"
