"""Refunds: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds. A transfer stays where it is."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.payment_methods import card_of
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.errors import invalid
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.state.clock import HOUR_S
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World, job

COMES_BACK_AFTER_S = HOUR_S
TRIED_AGAIN_AFTER_S = HOUR_S
REFERENCE = {"type": "refund", "reference_status": "pending", "reference_type": "acquirer_reference_number"}


@operation("POST /v1/refunds", "amount charge payment_intent reason metadata")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/refunds/create"""
    world, params = call.world, call.params
    charge = _charge(call)
    left = charge["amount"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if charge["disputed"] and not _refundable(world, charge):
        raise invalid(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    if left == 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if amount > left:
        shown = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise invalid(shown, param="amount")
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    refund: Object = {
        "id": new_id("re"), "object": "refund", "amount": amount, "balance_transaction": None, "charge": charge["id"],
        "created": world.clock.now(), "currency": charge["currency"], "metadata": {}, "receipt_number": None,
        "payment_intent": charge["payment_intent"], "reason": params.get("reason"), "source_transfer_reversal": None,
        "status": "pending", "transfer_reversal": None, "failure_reason": None, "pending_reason": None,
        "destination_details": {"type": "card", "card": dict(REFERENCE)},
    }  # fmt: skip
    merge_metadata(refund, params)
    world.store.add(refund, account=call.account)
    _send(world, refund, charge)
    world.emit("refund.created", refund, account=call.account)
    world.emit("charge.refunded", charge, account=call.account)
    return refund


def _charge(call: Call) -> Object:
    params, store = call.params, call.world.store
    if ("charge" in params) == ("payment_intent" in params):
        raise invalid("One of the following params should be provided for this request: payment_intent or charge.")
    key = params.get("charge")
    if key is None:
        intent = store.get("payment_intent", params["payment_intent"], account=call.account, param="payment_intent")
        key = intent["latest_charge"]
        if intent["status"] != "succeeded":
            raise invalid("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
    charge = store.get("charge", key, account=call.account, param="charge")
    if not charge["captured"]:
        raise invalid("This charge has not been captured and cannot be refunded.", param="charge")
    return store.edit(charge["id"])


def _refundable(world: World, charge: Object) -> bool:
    """An inquiry may still be settled with a refund, and so may a dispute that was won."""
    disputes = [each for each in world.store.of_kind("dispute") if each["charge"] == charge["id"]]
    return all(each["is_charge_refundable"] or each["status"] == "won" for each in disputes)


def _send(world: World, refund: Object, charge: Object) -> None:
    """Takes the money from the balance; without enough of it the refund waits."""
    account, currency = refund["_account"], refund["currency"]
    if world.books.total(account, currency) < refund["amount"]:
        refund |= {"status": "pending", "pending_reason": "insufficient_funds"}
        world.later(TRIED_AGAIN_AFTER_S, "refund_again", refund=refund["id"])
        return
    transaction = world.books.post(
        "refund", -refund["amount"], currency, refund["id"], account=account, available_on=charge["_settles"]
    )
    refund |= {"balance_transaction": transaction["id"], "pending_reason": None}
    fate = card_of(world.store.get("payment_method", charge["payment_method"], account=account)).refund
    refund["status"] = "pending" if fate == "pends" else "succeeded"
    if fate == "pends":
        refund["pending_reason"] = "processing"
    if fate != "succeeds":
        name = "refund_succeeds" if fate == "pends" else "refund_fails"
        world.later(COMES_BACK_AFTER_S, name, refund=refund["id"])


@job("refund_again")
def refund_again(world: World, about: Object) -> None:
    """Tries a refund that waits for money."""
    refund = world.store.edit(about["refund"])
    if refund["status"] != "pending":
        return
    _send(world, refund, world.store.get("charge", refund["charge"], account=refund["_account"]))
    if refund["balance_transaction"]:
        world.emit("refund.updated", refund, account=refund["_account"])


@job("refund_succeeds")
def refund_succeeds(world: World, about: Object) -> None:
    """https://docs.stripe.com/testing#refunds: begins as pending, then succeeds."""
    refund = world.store.edit(about["refund"])
    refund |= {"status": "succeeded", "pending_reason": None}
    world.emit("refund.updated", refund, account=refund["_account"])
    world.emit("charge.refund.updated", refund, account=refund["_account"])


@job("refund_fails")
def refund_fails(world: World, about: Object) -> None:
    """https://docs.stripe.com/testing#refunds: begins as succeeded, then fails; the money comes back."""
    refund = world.store.edit(about["refund"])
    account = refund["_account"]
    transaction = world.books.post(
        "refund_failure", refund["amount"], refund["currency"], refund["id"], account=account
    )
    refund |= {
        "status": "failed", "failure_reason": "unknown", "failure_balance_transaction": transaction["id"]
    }  # fmt: skip
    charge = world.store.edit(refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    for kind in ("refund.failed", "refund.updated", "charge.refund.updated"):
        world.emit(kind, refund, account=account)


@operation("POST /v1/refunds/{}", "metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/refunds/update"""
    refund = call.world.store.edit(retrieve(call)["id"])
    merge_metadata(refund, call.params)
    call.world.emit("refund.updated", refund, account=call.account)
    return refund


@operation("GET /v1/refunds/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/refunds/retrieve"""
    return call.world.store.get("refund", call.args[0], account=call.account)


@operation("GET /v1/refunds", f"{PAGED} charge payment_intent")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/refunds/list"""
    mine = (each for each in call.world.store.of_kind("refund") if each["_account"] == call.account)
    return page(mine, call.params, call.url)
