"""Payouts to a bank: https://docs.stripe.com/api/payouts. Automatic ones are made by a switch, not by a clock."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.operations.transfers import short_of_funds
from marketplace.payments.stripesim.protocol.errors import invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.state.clock import DAY_S, HOUR_S
from marketplace.payments.stripesim.state.currencies import check_currency
from marketplace.payments.stripesim.state.store import PLATFORM, Object, new_id
from marketplace.payments.stripesim.world import World, job

LEAVES_AFTER_S = HOUR_S
ARRIVES_AFTER_S = 2 * DAY_S
PLATFORM_BANK = "ba_platform"
FAILURE = "The bank account has been closed."


@operation("POST /v1/payouts", "amount currency description destination metadata method statement_descriptor")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/payouts/create"""
    world, params = call.world, call.params
    currency = check_currency(params["currency"])
    if params["amount"] < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if params.get("method", "standard") != "standard":
        raise not_simulated("instant payouts")
    bank = _bank(call)
    if world.books.available(call.account, currency) < params["amount"]:
        raise short_of_funds("payout")
    payout = _new(world, params["amount"], currency, bank) | {
        "description": params.get("description"), "statement_descriptor": params.get("statement_descriptor"),
    }  # fmt: skip
    merge_metadata(payout, params)
    return _send(world, payout, call.account)


def _new(world: World, amount: int, currency: str, bank: str) -> Object:
    now = world.clock.now()
    return {
        "id": new_id("po"), "object": "payout", "amount": amount, "application_fee": None,
        "application_fee_amount": None, "arrival_date": now + ARRIVES_AFTER_S, "automatic": False,
        "balance_transaction": None, "created": now, "currency": currency, "description": None, "destination": bank,
        "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "livemode": False,
        "metadata": {}, "method": "standard", "original_payout": None, "payout_method": None,
        "reconciliation_status": "not_applicable", "reversed_by": None, "source_type": "card",
        "statement_descriptor": None, "status": "pending", "trace_id": {"status": "pending", "value": None},
        "type": "bank_account",
    }  # fmt: skip


def _send(world: World, payout: Object, account: str) -> Object:
    world.store.add(payout, account=account)
    leaving = world.books.post("payout", -payout["amount"], payout["currency"], payout["id"], account=account)
    payout["balance_transaction"] = leaving["id"]
    world.later(LEAVES_AFTER_S, "payout_leaves", payout=payout["id"])
    world.later(ARRIVES_AFTER_S, "payout_arrives", payout=payout["id"])
    world.emit("payout.created", payout, account=account)
    return payout


def pay_all(world: World, currency: str) -> Object:
    """https://docs.stripe.com/payouts/reconciliation: an automatic payout of all that the platform has."""
    amount = world.books.available(PLATFORM, currency)
    if amount < 1:
        raise short_of_funds("payout")
    paid = {part for each in world.store.of_kind("payout") for part in each.get("_parts", ())}
    parts = [
        each["id"]
        for each in world.store.of_kind("balance_transaction")
        if (each["_account"], each["currency"]) == (PLATFORM, currency)
        and each["id"] not in paid
        and world.books.status(each) == "available"
    ]
    automatic = {"automatic": True, "reconciliation_status": "in_progress"}
    payout = _send(world, _new(world, amount, currency, PLATFORM_BANK) | automatic, PLATFORM)
    payout["_parts"] = [*parts, payout["balance_transaction"]]
    world.later(LEAVES_AFTER_S, "payout_reconciled", payout=payout["id"])
    return payout


@job("payout_reconciled")
def payout_reconciled(world: World, about: Object) -> None:
    """From now on its parts can be listed."""
    payout = world.store.edit(about["payout"])
    payout["reconciliation_status"] = "completed"
    world.emit("payout.reconciliation_completed", payout, account=payout["_account"])


def _bank(call: Call) -> str:
    """Where the money goes; a connected account must have named its bank and may be paid out to."""
    if call.account == PLATFORM:
        return str(call.params.get("destination", PLATFORM_BANK))
    account = call.world.store.get("account", call.account)
    if not account["payouts_enabled"]:
        raise invalid("Payouts are not enabled for this account.", code="payouts_not_allowed")
    bank = call.params.get("destination", account["_banks"][0])
    if bank not in account["_banks"]:
        raise invalid(f"No such external account: '{bank}'", param="destination", code="resource_missing")
    return str(bank)


@job("payout_leaves")
def payout_leaves(world: World, about: Object) -> None:
    """On its way: it can't be canceled any more."""
    payout = world.store.edit(about["payout"])
    if payout["status"] == "pending":
        payout["status"] = "in_transit"
        world.emit("payout.updated", payout, account=payout["_account"])


@job("payout_arrives")
def payout_arrives(world: World, about: Object) -> None:
    """https://docs.stripe.com/payouts#payout-failures: paid, or failed and the money is back."""
    payout = world.store.edit(about["payout"])
    if payout["status"] != "in_transit":
        return
    bank = world.store.find(payout["destination"])
    if bank and bank["_fails"]:
        _return(world, payout, "payout_failure", "failed")
        payout |= {"failure_code": "account_closed", "failure_message": FAILURE}
        world.emit("payout.failed", payout, account=payout["_account"])
        return
    payout |= {"status": "paid", "trace_id": {"status": "supported", "value": payout["id"][-12:]}}
    world.emit("payout.paid", payout, account=payout["_account"])


def _return(world: World, payout: Object, kind: str, status: str) -> None:
    back = world.books.post(kind, payout["amount"], payout["currency"], payout["id"], account=payout["_account"])
    payout |= {"status": status, "failure_balance_transaction": back["id"]}


@operation("POST /v1/payouts/{}/cancel")
def cancel(call: Call) -> Object:
    """https://docs.stripe.com/api/payouts/cancel"""
    payout = call.world.store.edit(retrieve(call)["id"])
    if payout["status"] != "pending":
        raise invalid(f"Payouts can only be canceled while pending; this one is {payout['status']}.")
    _return(call.world, payout, "payout_cancel", "canceled")
    call.world.emit("payout.canceled", payout, account=call.account)
    return payout


@operation("POST /v1/payouts/{}", "metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/payouts/update"""
    payout = call.world.store.edit(retrieve(call)["id"])
    merge_metadata(payout, call.params)
    call.world.emit("payout.updated", payout, account=call.account)
    return payout


@operation("GET /v1/payouts/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/payouts/retrieve"""
    return call.world.store.get("payout", call.args[0], account=call.account)


@operation("GET /v1/payouts", f"{PAGED} status destination")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/payouts/list"""
    mine = (each for each in call.world.store.of_kind("payout") if each["_account"] == call.account)
    return page(mine, call.params, call.url)
