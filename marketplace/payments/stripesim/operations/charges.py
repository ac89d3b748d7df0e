"""Charges: the record of one attempt on a card, and the money that a captured one brings."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.cards import Authentication, Card
from marketplace.payments.stripesim.operations.payment_methods import card_of
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.lists import page, whole
from marketplace.payments.stripesim.protocol.shown import includable
from marketplace.payments.stripesim.state.clock import DAY_S, HOUR_S
from marketplace.payments.stripesim.state.currencies import processing_fee
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

SETTLES_AFTER_S = 2 * DAY_S
AUTHORISED_S = 7 * DAY_S
AUTHORISED_OFF_SESSION_VISA_S = 4 * DAY_S + 18 * HOUR_S
DISPUTED_AFTER_S = 1
OUTCOME = {
    "advice_code": None, "network_advice_code": None, "network_decline_code": None,
    "network_status": "approved_by_network", "reason": None, "risk_level": "normal", "risk_score": 12,
    "seller_message": "Payment complete.", "type": "authorized",
}  # fmt: skip


def new_charge(world: World, intent: Object, method: Object, *, authenticated: bool) -> Object:
    """A charge that was authorised and not captured yet."""
    card, key = card_of(method), new_id("ch")
    charge: Object = {
        "id": key, "object": "charge", "amount": intent["amount"], "amount_captured": 0, "amount_refunded": 0,
        "application": None, "application_fee": None, "application_fee_amount": None, "balance_transaction": None,
        "billing_details": method["billing_details"], "calculated_statement_descriptor": "FALLOW",
        "captured": False, "created": world.clock.now(), "currency": intent["currency"],
        "customer": intent["customer"], "description": intent["description"], "disputed": False,
        "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "fraud_details": {},
        "livemode": False, "metadata": dict(intent["metadata"]), "on_behalf_of": None, "outcome": dict(OUTCOME),
        "paid": True, "payment_intent": intent["id"], "payment_method": method["id"],
        "payment_method_details": {"type": "card", "card": _card_details(card, method, intent, authenticated)},
        "receipt_email": intent["receipt_email"], "receipt_number": None,
        "receipt_url": f"{world.public_url}/receipts/{key}",
        "refunded": False, "review": None, "shipping": None, "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"], "statement_descriptor_suffix": None,
        "status": "succeeded", "transfer_data": None, "transfer_group": intent["transfer_group"],
        "_transferred": 0, "_settles": None,
    }  # fmt: skip
    return world.store.add(charge, account=intent["_account"])


def _card_details(card: Card, method: Object, intent: Object, authenticated: bool) -> Object:
    held = method["card"]
    details = {
        "amount_authorized": intent["amount"], "authorization_code": "123456", "brand": card.brand,
        "checks": held["checks"], "country": card.country, "exp_month": held["exp_month"],
        "exp_year": held["exp_year"], "extended_authorization": {"status": "disabled"},
        "fingerprint": held["fingerprint"], "funding": card.funding,
        "incremental_authorization": {"status": "unavailable"},
        "installments": None, "last4": card.last4, "mandate": None, "multicapture": {"status": "unavailable"},
        "network": card.brand, "network_token": {"used": False},
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "regulated_status": "unregulated", "three_d_secure": None, "wallet": None,
    }  # fmt: skip
    if authenticated and card.authentication != Authentication.NEVER:
        details["three_d_secure"] = {
            "authentication_flow": "challenge", "electronic_commerce_indicator": "05", "exemption_indicator": None,
            "result": "authenticated", "result_reason": None, "version": "2.2.0", "transaction_id": None,
        }  # fmt: skip
    return details


def fail(charge: Object, card: Card, *, code: str, decline_code: str | None, text: str) -> None:
    """Turns an attempt into a failed one."""
    charge |= {"status": "failed", "paid": False, "failure_code": code, "failure_message": text}
    charge["outcome"] = {
        **OUTCOME, "network_status": "not_sent_to_network" if card.blocked else "declined_by_network",
        "reason": "highest_risk_level" if card.blocked else decline_code or code,
        "risk_level": "highest" if card.blocked else "normal", "risk_score": 99 if card.blocked else 12,
        "type": "blocked" if card.blocked else "issuer_declined",
        "seller_message": "Stripe blocked this payment." if card.blocked else "The bank refused the payment.",
    }  # fmt: skip


def hold(world: World, charge: Object, *, off_session: bool) -> int:
    """Leaves a charge authorised; gives until when: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method."""
    card = charge["payment_method_details"]["card"]
    merchant_initiated = off_session and card["brand"] == "visa"
    window = AUTHORISED_OFF_SESSION_VISA_S if merchant_initiated else AUTHORISED_S
    card["capture_before"] = world.clock.now() + window
    world.later(window, "authorisation_expires", payment_intent=charge["payment_intent"])
    return int(card["capture_before"])


def capture(world: World, charge: Object, card: Card, amount: int) -> Object:
    """Takes the money: a balance transaction with the fee, pending for two days unless the card says otherwise."""
    foreign = card.country != "US"
    fee = processing_fee(amount, charge["currency"], foreign=foreign)
    settles = world.clock.now() + (0 if card.bypasses_pending else SETTLES_AFTER_S)
    transaction = world.books.post(
        "charge", amount, charge["currency"], charge["id"], account=charge["_account"], fee=fee, available_on=settles,
        description=charge["description"],
    )  # fmt: skip
    charge |= {
        "captured": True, "amount_captured": amount, "balance_transaction": transaction["id"], "_settles": settles
    }  # fmt: skip
    if card.dispute:
        world.later(DISPUTED_AFTER_S, "dispute_opens", charge=charge["id"], reason=card.dispute)
    if card.warned:
        world.later(DISPUTED_AFTER_S, "fraud_warning", charge=charge["id"])
    return transaction


@operation("GET /v1/charges/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/charges/retrieve"""
    return call.world.store.get("charge", call.args[0], account=call.account)


@operation("GET /v1/charges", f"{PAGED} customer payment_intent transfer_group")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/charges/list"""
    mine = (each for each in call.world.store.of_kind("charge") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


@operation("POST /v1/charges/{}", "metadata description transfer_group")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/charges/update"""
    charge = call.world.store.edit(retrieve(call)["id"])
    charge |= {name: call.params[name] for name in ("description", "transfer_group") if name in call.params}
    merge_metadata(charge, call.params)
    call.world.emit("charge.updated", charge, account=call.account)
    return charge


@includable("charge", "refunds")
def refunds(world: World, charge: Object) -> Object:
    """The charge's refunds, there when asked for."""
    found = [each for each in world.store.of_kind("refund") if each["charge"] == charge["id"]]
    return whole(found, f"/v1/charges/{charge['id']}/refunds")
