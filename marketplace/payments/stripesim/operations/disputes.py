"""Disputes and warnings of fraud: https://docs.stripe.com/disputes/how-disputes-work. The platform is debited."""

from __future__ import annotations

from typing import Any

from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.errors import invalid
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.protocol.shown import shown, view
from marketplace.payments.stripesim.state.clock import DAY_S, HOUR_S
from marketplace.payments.stripesim.state.currencies import dispute_fee
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World, job

ANSWER_WITHIN_S = 9 * DAY_S
DECIDED_AFTER_S = HOUR_S
# https://docs.stripe.com/testing#evidence: what this text is decides the case.
WINNING, LOSING, ESCALATING = "winning_evidence", "losing_evidence", "escalate_inquiry_evidence"
OPEN = {"needs_response", "warning_needs_response"}
EVIDENCE = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file",
    "uncategorized_text",
)  # fmt: skip


@job("dispute_opens")
def dispute_opens(world: World, about: Object) -> None:
    """The bank took the money back, or with an inquiry only asks."""
    charge = world.store.edit(about["charge"])
    inquiry = about["reason"] == "inquiry"
    card = charge["payment_method_details"]["card"]
    dispute: Object = {
        "id": new_id("dp"), "object": "dispute", "amount": charge["amount_captured"], "charge": charge["id"],
        "created": world.clock.now(), "currency": charge["currency"], "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": world.clock.now() + ANSWER_WITHIN_S, "has_evidence": False, "past_due": False,
            "submission_count": 0, "submission_method": "not_submitted", "enhanced_eligibility": {},
        },
        "is_charge_refundable": inquiry, "livemode": False, "metadata": {}, "network_reason_code": "83",
        "payment_intent": charge["payment_intent"], "reason": "fraudulent" if inquiry else about["reason"],
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": card["brand"], "network": card["brand"], "network_reason_code": "83",
                "case_type": "inquiry" if inquiry else "chargeback",
            },
        },
        "status": "warning_needs_response" if inquiry else "needs_response", "_transactions": [],
    }  # fmt: skip
    charge["disputed"] = True
    world.store.add(dispute, account=charge["_account"])
    if not inquiry:
        _withdraw(world, dispute)
    world.later(ANSWER_WITHIN_S, "dispute_times_out", dispute=dispute["id"])
    world.emit("charge.dispute.created", dispute, account=charge["_account"])
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", dispute, account=charge["_account"])


def _withdraw(world: World, dispute: Object) -> None:
    """Amount and fee leave the platform's balance at once, whatever is available."""
    transaction = world.books.post(
        "adjustment", -dispute["amount"], dispute["currency"], dispute["id"], account=dispute["_account"],
        fee=dispute_fee(dispute["currency"]), category="dispute", fee_description="Dispute fee",
        description=f"Chargeback withdrawal for {dispute['charge']}",
    )  # fmt: skip
    dispute["_transactions"].append(transaction["id"])


@view("dispute")
def seen(world: World, stored: Object) -> Object:
    """A dispute with the balance transactions it has led to."""
    found = (world.store.find(each) for each in stored["_transactions"])
    return {**stored, "balance_transactions": [shown(world, each) for each in found if each]}


@job("dispute_times_out")
def dispute_times_out(world: World, about: Object) -> None:
    """Nobody answered: it is lost, and a mere inquiry is closed."""
    dispute = world.store.edit(about["dispute"])
    if dispute["status"] in OPEN:
        dispute["evidence_details"]["past_due"] = True
        _close(world, dispute, "lost" if dispute["status"] == "needs_response" else "warning_closed")


@job("dispute_decided")
def dispute_decided(world: World, about: Object) -> None:
    """The bank has read the evidence."""
    dispute = world.store.edit(about["dispute"])
    text = dispute["evidence"]["uncategorized_text"]
    if dispute["status"] == "warning_under_review":
        if text == ESCALATING:
            dispute |= {"status": "needs_response", "is_charge_refundable": False}
            _withdraw(world, dispute)
            world.emit("charge.dispute.updated", dispute, account=dispute["_account"])
            world.emit("charge.dispute.funds_withdrawn", dispute, account=dispute["_account"])
        else:
            _close(world, dispute, "warning_closed")
    elif dispute["status"] == "under_review":
        _close(world, dispute, "won" if text == WINNING else "lost")


def _close(world: World, dispute: Object, status: str) -> None:
    """Won: the amount comes back, the fee does not."""
    account = dispute["_account"]
    dispute["status"] = status
    if status == "won":
        transaction = world.books.post(
            "adjustment", dispute["amount"], dispute["currency"], dispute["id"], account=account,
            category="dispute_reversal", description=f"Chargeback reversal for {dispute['charge']}",
        )  # fmt: skip
        dispute["_transactions"].append(transaction["id"])
        world.emit("charge.dispute.funds_reinstated", dispute, account=account)
    world.emit("charge.dispute.closed", dispute, account=account)


@job("fraud_warning")
def fraud_warning(world: World, about: Object) -> None:
    """https://docs.stripe.com/disputes/measuring#early-fraud-warnings: no money moves."""
    charge = world.store.get("charge", about["charge"])
    warning: Object = {
        "id": new_id("issfr"), "object": "radar.early_fraud_warning", "actionable": True, "charge": charge["id"],
        "created": world.clock.now(), "fraud_type": "unauthorized_use_of_card", "livemode": False,
        "payment_intent": charge["payment_intent"],
    }  # fmt: skip
    world.store.add(warning)
    world.emit("radar.early_fraud_warning.created", warning)


@operation("GET /v1/radar/early_fraud_warnings", f"{PAGED} charge payment_intent")
def list_warnings(call: Call) -> Object:
    """https://docs.stripe.com/api/radar/early_fraud_warnings/list"""
    return page(call.world.store.of_kind("radar.early_fraud_warning"), call.params, call.url)


@operation("GET /v1/radar/early_fraud_warnings/{}")
def retrieve_warning(call: Call) -> Object:
    """https://docs.stripe.com/api/radar/early_fraud_warnings/retrieve"""
    return call.world.store.get("radar.early_fraud_warning", call.args[0])


@operation("POST /v1/disputes/{}", "evidence submit metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/disputes/update: evidence is sent to the bank unless `submit` is false."""
    dispute, params = call.world.store.edit(retrieve(call)["id"]), call.params
    merge_metadata(dispute, params)
    if "evidence" in params or params.get("submit"):
        if dispute["status"] not in OPEN:
            raise invalid("This dispute is already closed or under review.", code="dispute_not_open")
        _take_evidence(dispute, params.get("evidence") or {})
        if params.get("submit", True):
            _submit(call.world, dispute)
    call.world.emit("charge.dispute.updated", dispute, account=call.account)
    return dispute


def _take_evidence(dispute: Object, given: dict[str, Any]) -> None:
    unknown = set(given) - set(EVIDENCE)
    if unknown:
        raise invalid(f"The simulator does not take evidence of the kind {', '.join(unknown)}.", param="evidence")
    dispute["evidence"] |= given
    dispute["evidence_details"]["has_evidence"] = any(dispute["evidence"][name] for name in EVIDENCE)


def _submit(world: World, dispute: Object) -> None:
    dispute["evidence_details"]["submission_count"] += 1
    dispute["evidence_details"]["submission_method"] = "manual"
    dispute["status"] = "under_review" if dispute["status"] == "needs_response" else "warning_under_review"
    if dispute["evidence"]["uncategorized_text"] in {WINNING, LOSING, ESCALATING}:
        world.later(0, "dispute_decided", dispute=dispute["id"])
    else:
        world.later(DECIDED_AFTER_S, "dispute_decided", dispute=dispute["id"])


@operation("POST /v1/disputes/{}/close")
def close(call: Call) -> Object:
    """https://docs.stripe.com/api/disputes/close: gives in."""
    dispute = call.world.store.edit(retrieve(call)["id"])
    if dispute["status"] not in OPEN:
        raise invalid("This dispute is already closed or under review.", code="dispute_not_open")
    _close(call.world, dispute, "lost")
    return dispute


@operation("GET /v1/disputes/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/disputes/retrieve"""
    return call.world.store.get("dispute", call.args[0], account=call.account)


@operation("GET /v1/disputes", f"{PAGED} charge payment_intent")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/disputes/list"""
    mine = (each for each in call.world.store.of_kind("dispute") if each["_account"] == call.account)
    return page(mine, call.params, call.url)
