"""How cards, PaymentIntents, SetupIntents, refunds and Checkout behave, by Stripe's documentation."""

from __future__ import annotations

import urllib.parse

import pytest
import stripe

DAY_S = 86_400
HOUR_S = 3_600


def test_a_charge_pends_for_two_days_and_the_fee_is_on_its_balance_transaction(stripesim, client, pay):
    """https://docs.stripe.com/payouts#payout-speed and https://docs.stripe.com/api/balance_transactions"""
    entry = pay(10_000).latest_charge.balance_transaction
    assert (entry.amount, entry.fee, entry.net, entry.status) == (10_000, 320, 9_680, "pending")
    balance = client.v1.balance.retrieve()
    assert (balance.available[0].amount, balance.pending[0].amount) == (0, 9_680)
    stripesim.sim("clock", {"advance": 2 * DAY_S})
    balance = client.v1.balance.retrieve()
    assert (balance.available[0].amount, balance.pending[0].amount) == (9_680, 0)
    assert client.v1.balance_transactions.retrieve(entry.id).status == "available"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_authenticationRequired", "authentication_required", "authentication_required"),
    ],
)
def test_a_refused_card_leaves_a_failed_charge_behind(client, pay, card, code, decline_code):
    """https://docs.stripe.com/testing#declined-payments"""
    with pytest.raises(stripe.CardError) as refused:
        pay(card=card)
    error = refused.value.error
    assert (refused.value.code, getattr(error, "decline_code", None)) == (code, decline_code)
    intent = client.v1.payment_intents.retrieve(error.payment_intent.id)
    assert intent.status == "requires_payment_method"
    assert client.v1.charges.retrieve(intent.latest_charge).status == "failed"
    assert client.v1.balance_transactions.list().data == []


def test_a_holder_on_session_is_asked_and_pays(stripesim, client):
    """https://docs.stripe.com/payments/3d-secure: requires_action, then a page of the bank's."""
    given = {"amount": 500, "currency": "usd", "payment_method": "pm_card_authenticationRequired", "confirm": True}
    intent = client.v1.payment_intents.create({**given, "return_url": "http://127.0.0.1/back"})
    assert intent.status == "requires_action"
    page = urllib.parse.urlsplit(intent.next_action.redirect_to_url.url).path
    assert stripesim.ask("GET", page)[0] == 200
    status, headers, _ = stripesim.ask("POST", page, "answer=yes")
    assert (status, headers["location"].startswith("http://127.0.0.1/back?")) == (303, True)
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_card_that_was_set_up_pays_off_session_unasked(stripesim, client, pay):
    """https://docs.stripe.com/testing#regulatory-cards: authenticate unless set up."""
    customer = client.v1.customers.create({"email": "a@example.com"}).id
    card = "pm_card_authenticationRequiredOnSetup"
    given = {"customer": customer, "payment_method": card, "confirm": True, "return_url": "http://127.0.0.1/back"}
    setup = client.v1.setup_intents.create(given)
    assert setup.status == "requires_action"
    assert stripesim.sim("authenticate", {"intent": setup.id, "yes": True})["status"] == "succeeded"
    saved = client.v1.customers.payment_methods.list(customer).data[0].id
    assert pay(card=saved, customer=customer).status == "succeeded"


@pytest.mark.parametrize(("off_session", "window"), [(True, 4 * DAY_S + 18 * HOUR_S), (False, 7 * DAY_S)])
def test_an_authorisation_expires_and_the_payment_is_canceled(stripesim, client, off_session, window):
    """https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#auth-capture-limitations"""
    given = {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    where = {"off_session": True} if off_session else {"return_url": "http://127.0.0.1/back"}
    manual = {"capture_method": "manual", "expand": ["latest_charge"]}
    intent = client.v1.payment_intents.create({**given, **where, **manual})
    assert intent.latest_charge.payment_method_details.card.capture_before == intent.created + window
    stripesim.sim("clock", {"advance": window - 1})
    assert client.v1.payment_intents.retrieve(intent.id).status == "requires_capture"
    stripesim.sim("clock", {"advance": 1})
    assert client.v1.payment_intents.retrieve(intent.id).status == "canceled"
    assert [each.type for each in client.v1.events.list({"types": ["charge.expired"]}).data] == ["charge.expired"]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.capture(intent.id)
    assert refused.value.code == "payment_intent_unexpected_state"


def test_a_part_is_captured_and_the_rest_let_go(client, pay):
    """https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#capture-funds"""
    intent = pay(1_000, capture_method="manual", expand=[])
    captured = client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 700})
    assert (captured.status, captured.amount_received) == ("succeeded", 700)
    assert client.v1.balance_transactions.list().data[0].amount == 700


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [(49, "usd", "amount_too_small"), (49, "jpy", "amount_too_small"), (100_000_000, "usd", "amount_too_large"),
     (1_001, "kwd", "invalid_charge_amount")],
)  # fmt: skip
def test_amounts_that_cannot_be_charged(client, pay, amount, currency, code):
    """https://docs.stripe.com/currencies: minimum and maximum amounts, three-decimal currencies."""
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay(amount, currency=currency)
    assert (refused.value.code, refused.value.param) == (code, "amount")


@pytest.mark.parametrize(("amount", "currency", "fee"), [(5_000, "jpy", 145), (10_000, "kwd", 590)])
def test_fees_follow_the_exponent_of_the_currency(pay, amount, currency, fee):
    """https://docs.stripe.com/currencies#zero-decimal; the price itself is the simulator's."""
    assert pay(amount, currency=currency).latest_charge.balance_transaction.fee == fee


def test_more_than_was_paid_is_never_refunded(client, pay):
    """https://docs.stripe.com/api/refunds/create"""
    intent = pay(1_000)
    assert client.v1.refunds.create({"payment_intent": intent.id, "amount": 400}).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 601})
    client.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    assert client.v1.charges.retrieve(intent.latest_charge.id).refunded is True


def test_a_refund_may_fail_later_and_the_money_comes_back(stripesim, client, pay):
    """https://docs.stripe.com/testing#refunds and https://docs.stripe.com/refunds#failed-refunds"""
    pay(5_000)
    intent = pay(1_000, "pm_card_refundFail")
    before = client.v1.balance.retrieve().pending[0].amount
    refund = client.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    stripesim.sim("clock", {"advance": HOUR_S})
    refund = client.v1.refunds.retrieve(refund.id)
    assert (refund.status, refund.failure_reason) == ("failed", "unknown")
    balance = client.v1.balance.retrieve()
    assert balance.pending[0].amount + balance.available[0].amount == before
    assert client.v1.charges.retrieve(intent.latest_charge.id).amount_refunded == 0


def test_a_refund_without_money_waits(stripesim, client, pay):
    """https://docs.stripe.com/refunds: pending with insufficient_funds until the balance covers it."""
    refund = client.v1.refunds.create({"payment_intent": pay(1_000).id})
    assert (refund.status, refund.pending_reason) == ("pending", "insufficient_funds")
    pay(5_000)
    stripesim.sim("clock", {"advance": HOUR_S})
    assert client.v1.refunds.retrieve(refund.id).status == "succeeded"


def test_a_declined_card_then_a_good_one_on_the_checkout_page(stripesim, client):
    """https://docs.stripe.com/payments/checkout: hosted page, one session, the intent kept between attempts."""
    price = {"currency": "usd", "unit_amount": 5_000, "product_data": {"name": "Compute credit"}}
    session = client.v1.checkout.sessions.create({
        "mode": "payment", "success_url": "http://127.0.0.1/ok?s={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1/no", "line_items": [{"quantity": 1, "price_data": price}],
    })  # fmt: skip
    path = urllib.parse.urlsplit(session.url).path
    assert b"Pay 50.00 USD" in stripesim.ask("GET", path)[2]
    stripesim.ask("POST", path, "card=pm_card_visa_chargeDeclined")
    assert b"Your card was declined." in stripesim.ask("GET", path)[2]
    stripesim.ask("POST", path, "card=pm_card_visa")
    status, headers, _ = stripesim.ask("GET", path)
    assert (status, headers["location"]) == (303, f"http://127.0.0.1/ok?s={session.id}")
    done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items", "payment_intent"]})
    assert (done.status, done.payment_status, done.payment_intent.status) == ("complete", "paid", "succeeded")
    assert done.line_items.data[0].amount_total == 5_000
    kinds = [each.type for each in client.v1.events.list({"limit": 100}).data]
    assert kinds.count("payment_intent.payment_failed") == kinds.count("checkout.session.completed") == 1


def test_an_unfinished_session_expires(stripesim, client):
    """https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-expires_at: after a day."""
    price = {"currency": "usd", "unit_amount": 5_000, "product_data": {"name": "Compute credit"}}
    given = {
        "mode": "payment",
        "success_url": "http://127.0.0.1/",
        "line_items": [{"quantity": 1, "price_data": price}],
    }
    session = client.v1.checkout.sessions.create(given)
    stripesim.sim("clock", {"advance": DAY_S})
    assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
    assert client.v1.events.list({"type": "checkout.session.expired"}).data[0].data.object["id"] == session.id
