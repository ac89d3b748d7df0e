"""What Stripe's objects say, in our words and micros. Each function fetches one object as it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import stripe

from marketplace.payments.stripe_gateway.accounts import CALL, account_fact
from marketplace.payments.stripe_gateway.coins import micros

Fact = dict[str, Any]
CHARGE = "latest_charge.balance_transaction"


def entry(transaction: Any) -> Fact | None:
    """A balance transaction; None while there is none. Fees are Stripe's own: nobody computes them."""
    if transaction is None:
        return None
    currency = transaction.currency.upper()
    amount, fee = micros(transaction.amount, currency), micros(transaction.fee, currency)
    return {"id": transaction.id, "currency": currency, "amount_micros": amount, "fee_micros": fee}


def payment(intent: Any) -> Fact:
    """A PaymentIntent with its charge; `deposit_id` is empty when it is none of ours."""
    return {
        "payment_id": intent.id,
        "deposit_id": _named(intent),
        "status": intent.status,
        "charge": _charge(intent.latest_charge) if intent.latest_charge else None,
    }


def _named(intent: Any) -> str:
    """Our name of the deposit that it is for."""
    return str((intent.metadata.to_dict() if intent.metadata else {}).get("deposit", ""))


def _charge(charge: Any) -> Fact:
    currency = charge.currency.upper()
    return {
        "charge_id": charge.id,
        "fingerprint": _fingerprint(charge.payment_method_details),
        "currency": currency,
        "amount_micros": micros(charge.amount, currency),
        "entry": entry(charge.balance_transaction),
    }


def _fingerprint(details: Any) -> str:
    """Stripe's name of the card's number, the same for the same number; empty for what is no card."""
    card = getattr(details, "card", None) if details else None
    return str(card.fingerprint or "") if card else ""


def _page(client: stripe.StripeClient, object_id: str) -> Fact:
    expand = [f"payment_intent.{CHARGE}", "setup_intent.payment_method"]
    page = client.v1.checkout.sessions.retrieve(object_id, {"expand": expand})
    paid = payment(page.payment_intent) if page.payment_intent else None
    return {
        "page_id": page.id,
        "for": page.client_reference_id or "",
        "status": page.status,
        "payment": paid,
        "card": _card(page.setup_intent) if page.setup_intent and page.status == "complete" else None,
    }


def _card(setup: Any) -> Fact:
    method = setup.payment_method
    label = f"{method.card.brand} {method.card.last4}" if method.card else method.type
    return {"method_id": method.id, "customer_id": setup.customer, "label": label, "fingerprint": _fingerprint(method)}


def _payment(client: stripe.StripeClient, object_id: str) -> Fact:
    return payment(client.v1.payment_intents.retrieve(object_id, {"expand": [CHARGE]}))


def _payment_of_charge(client: stripe.StripeClient, object_id: str) -> Fact:
    intent = client.v1.charges.retrieve(object_id).payment_intent
    return (
        _payment(client, str(intent)) if intent else {"payment_id": "", "deposit_id": "", "status": "", "charge": None}
    )


def _refund(client: stripe.StripeClient, object_id: str) -> Fact:
    """`call_id` is our name for the call that made it, empty where somebody made it in the dashboard."""
    refund = client.v1.refunds.retrieve(object_id, {"expand": ["balance_transaction", "payment_intent"]})
    failure = getattr(refund, "failure_balance_transaction", None)  # only on one that failed
    return {
        "refund_id": refund.id,
        "deposit_id": _named(refund.payment_intent) if refund.payment_intent else "",
        "call_id": (refund.metadata.to_dict() if refund.metadata else {}).get(CALL, ""),
        "amount_micros": micros(refund.amount, refund.currency.upper()),
        "status": refund.status,
        "entry": entry(refund.balance_transaction),
        "came_back": entry(client.v1.balance_transactions.retrieve(str(failure))) if failure else None,
    }


def _dispute(client: stripe.StripeClient, object_id: str) -> Fact:
    """`is_inquiry` while the bank only asks and has taken nothing, and where it was kept from taking anything."""
    dispute = client.v1.disputes.retrieve(object_id, {"expand": ["payment_intent"]})
    currency, due = dispute.currency.upper(), dispute.evidence_details.due_by
    entries = [entry(each) for each in dispute.balance_transactions]
    return {
        "dispute_id": dispute.id,
        "deposit_id": _named(dispute.payment_intent) if dispute.payment_intent else "",
        "status": dispute.status,
        "is_inquiry": dispute.status.startswith("warning_") or (dispute.status == "prevented" and not entries),
        "reason": dispute.reason,
        "currency": currency,
        "amount_micros": micros(dispute.amount, currency),
        "answer_by": datetime.fromtimestamp(due, UTC) if due else None,
        "entries": entries,
    }


def _payout(client: stripe.StripeClient, object_id: str) -> Fact:
    """A payout of the platform's own to its bank: https://docs.stripe.com/api/payouts/object."""
    expand = ["balance_transaction", "failure_balance_transaction"]
    payout = client.v1.payouts.retrieve(object_id, {"expand": expand})
    currency = payout.currency.upper()
    return {
        "payout_id": payout.id,
        "status": payout.status,
        "is_automatic": payout.automatic,
        "currency": currency,
        "amount_micros": micros(payout.amount, currency),
        "at": datetime.fromtimestamp(payout.created, UTC),
        "arrives_at": datetime.fromtimestamp(payout.arrival_date, UTC),
        "entries": [
            each for each in (entry(payout.balance_transaction), entry(payout.failure_balance_transaction)) if each
        ],
    }


FACTS: Mapping[str, Callable[[stripe.StripeClient, str], Fact]] = {
    "checkout.session": _page,
    "payment_intent": _payment,
    "charge": _payment_of_charge,
    "account": account_fact,
    "refund": _refund,
    "dispute": _dispute,
    "payout": _payout,
}
