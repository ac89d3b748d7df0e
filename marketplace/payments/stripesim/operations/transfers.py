"""Transfers to connected accounts and their reversals: https://docs.stripe.com/connect/separate-charges-and-transfers."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.accounts import find
from marketplace.payments.stripesim.operations.charges import OUTCOME
from marketplace.payments.stripesim.operations.payment_methods import billing_details
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.errors import ApiError, invalid
from marketplace.payments.stripesim.protocol.lists import page, whole
from marketplace.payments.stripesim.protocol.shown import view
from marketplace.payments.stripesim.state.currencies import check_currency
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World


@operation("POST /v1/transfers", "amount currency destination source_transaction transfer_group description metadata")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/transfers/create"""
    world, params = call.world, call.params
    currency = check_currency(params["currency"])
    if "amount" not in params or params["amount"] < 1:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    account = find(world, params["destination"], param="destination")
    if account["capabilities"].get("transfers") != "active":
        raise invalid(
            "Your destination account needs to have at least one of the following capabilities enabled: transfers",
            param="destination", code="insufficient_capabilities_for_transfer",
        )  # fmt: skip
    charge = _source(call, currency)
    settles = charge["_settles"] if charge else None
    if charge is None and world.books.available(call.account, currency) < params["amount"]:
        raise short_of_funds("transfer")
    transfer: Object = {
        "id": new_id("tr"), "object": "transfer", "amount": params["amount"], "amount_reversed": 0,
        "created": world.clock.now(), "currency": currency, "description": params.get("description"),
        "destination": account["id"], "livemode": False, "metadata": {}, "reversed": False,
        "source_transaction": params.get("source_transaction"), "source_type": "card",
        "transfer_group": params.get("transfer_group") or (charge and charge["transfer_group"]) or None,
        "_settles": settles,
    }  # fmt: skip
    merge_metadata(transfer, params)
    world.store.add(transfer, account=call.account)
    leaving = world.books.post(
        "transfer", -params["amount"], currency, transfer["id"], account=call.account, available_on=settles
    )
    payment = _arrival(world, transfer, account)
    transfer |= {"balance_transaction": leaving["id"], "destination_payment": payment["id"]}
    if charge:
        charge["_transferred"] += params["amount"]
    world.emit("transfer.created", transfer, account=call.account)
    return transfer


def short_of_funds(what: str) -> ApiError:
    """https://docs.stripe.com/error-codes#balance-insufficient"""
    return invalid(
        f"You have insufficient available funds in your Stripe account for this {what}. Try adding funds directly to "
        "your available balance by creating Charges using the 4000000000000077 test card.",
        code="balance_insufficient",
    )


def _source(call: Call, currency: str) -> Object | None:
    """The charge that a transfer is tied to, open for writing: it can't give more than it took."""
    key = call.params.get("source_transaction")
    if key is None:
        return None
    charge = call.world.store.edit(
        call.world.store.get("charge", key, account=call.account, param="source_transaction")["id"]
    )
    if not charge["captured"]:
        raise invalid("The source charge has not been captured.", param="source_transaction")
    if charge["currency"] != currency:
        raise invalid(
            f"The currency of source_transaction's balance transaction ({charge['currency']}) must be the same as the "
            f"transfer currency ({currency})",
            param="currency",
        )
    left = charge["amount_captured"] - charge["_transferred"]
    if call.params["amount"] > left:
        raise invalid(
            f"Transfers using this transaction as a source must not exceed the source amount of "
            f"{charge['amount_captured']}. There is {left} left.",
            param="amount",
        )
    return charge


def _arrival(world: World, transfer: Object, account: Object) -> Object:
    """The payment that the connected account sees; its money settles when that of the charge does."""
    key = new_id("py")
    arrival = world.books.post(
        "payment", transfer["amount"], transfer["currency"], key, account=account["id"], category="charge",
        available_on=transfer["_settles"],
    )  # fmt: skip
    payment: Object = {
        "id": key, "object": "charge", "amount": transfer["amount"], "amount_captured": transfer["amount"],
        "amount_refunded": 0, "application": None, "application_fee": None, "application_fee_amount": None,
        "balance_transaction": arrival["id"], "billing_details": billing_details(None),
        "calculated_statement_descriptor": None, "captured": True, "created": world.clock.now(),
        "currency": transfer["currency"], "customer": None, "description": transfer["description"],
        "disputed": False, "failure_balance_transaction": None, "failure_code": None, "failure_message": None,
        "fraud_details": {}, "livemode": False, "metadata": {}, "on_behalf_of": None, "outcome": dict(OUTCOME),
        "paid": True, "payment_intent": None, "payment_method": None,
        "payment_method_details": {"type": "stripe_account", "stripe_account": {}},
        "receipt_email": None, "receipt_number": None, "receipt_url": None, "refunded": False, "review": None,
        "shipping": None, "source_transfer": transfer["id"], "statement_descriptor": None,
        "statement_descriptor_suffix": None, "status": "succeeded", "transfer_data": None,
        "transfer_group": transfer["transfer_group"], "_transferred": 0, "_settles": transfer["_settles"],
    }  # fmt: skip
    return world.store.add(payment, account=account["id"])


@view("transfer")
def seen(world: World, stored: Object) -> Object:
    """A transfer with its reversals."""
    reversals = [
        {key: value for key, value in each.items() if not key.startswith("_")}
        for each in world.store.of_kind("transfer_reversal")
        if each["transfer"] == stored["id"]
    ]
    return {**stored, "reversals": whole(reversals, f"/v1/transfers/{stored['id']}/reversals")}


@operation("GET /v1/transfers/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/transfers/retrieve"""
    return call.world.store.get("transfer", call.args[0], account=call.account)


@operation("GET /v1/transfers", f"{PAGED} destination transfer_group")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/transfers/list"""
    mine = (each for each in call.world.store.of_kind("transfer") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


@operation("POST /v1/transfers/{}", "description metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/transfers/update"""
    transfer = call.world.store.edit(retrieve(call)["id"])
    transfer["description"] = call.params.get("description", transfer["description"])
    merge_metadata(transfer, call.params)
    call.world.emit("transfer.updated", transfer, account=call.account)
    return transfer


@operation("POST /v1/transfers/{}/reversals", "amount description metadata")
def reverse(call: Call) -> Object:
    """https://docs.stripe.com/api/transfer_reversals/create: what the connected account has available limits it."""
    world = call.world
    transfer = world.store.edit(retrieve(call)["id"])
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = call.params.get("amount", left)
    if left == 0:
        raise invalid("This transfer has already been fully reversed.", param="amount")
    if not 1 <= amount <= left:
        raise invalid(f"Reversal amount ({amount}) is greater than unreversed amount ({left})", param="amount")
    settles = transfer["_settles"]
    if settles and settles > world.clock.now():
        enough = world.books.total(transfer["destination"], transfer["currency"]) >= amount
    else:
        enough = world.books.available(transfer["destination"], transfer["currency"]) >= amount
    if not enough:
        raise invalid(
            "The connected account has insufficient available funds for this reversal.", code="balance_insufficient"
        )
    key = new_id("trr")
    back = world.books.post(
        "transfer_refund", amount, transfer["currency"], key, account=call.account, category="transfer_reversal",
        available_on=settles,
    )  # fmt: skip
    world.books.post(
        "payment_refund", -amount, transfer["currency"], key, account=transfer["destination"], category="refund",
        available_on=settles,
    )  # fmt: skip
    reversal: Object = {
        "id": key, "object": "transfer_reversal", "amount": amount, "balance_transaction": back["id"],
        "created": world.clock.now(), "currency": transfer["currency"], "destination_payment_refund": None,
        "metadata": {}, "source_refund": None, "transfer": transfer["id"],
    }  # fmt: skip
    merge_metadata(reversal, call.params)
    world.store.add(reversal, account=call.account)
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    world.emit("transfer.reversed", transfer, account=call.account)
    return reversal


@operation("GET /v1/transfers/{}/reversals/{}")
def retrieve_reversal(call: Call) -> Object:
    """https://docs.stripe.com/api/transfer_reversals/retrieve"""
    retrieve(call)
    return call.world.store.get("transfer_reversal", call.args[1], account=call.account)


@operation("GET /v1/transfers/{}/reversals", "limit starting_after ending_before")
def list_reversals(call: Call) -> Object:
    """https://docs.stripe.com/api/transfer_reversals/list"""
    retrieve(call)
    mine = (each for each in call.world.store.of_kind("transfer_reversal") if each["transfer"] == call.args[0])
    return page(mine, call.params, call.url)
