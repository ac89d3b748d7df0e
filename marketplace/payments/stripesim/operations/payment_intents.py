"""PaymentIntents: https://docs.stripe.com/api/payment_intents"""

from __future__ import annotations

import secrets
from typing import Any

from marketplace.payments.stripesim.operations import charges, paying
from marketplace.payments.stripesim.operations.payment_methods import card_of, new_method, resolve, token_of
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, only, operation
from marketplace.payments.stripesim.protocol.errors import ApiError, invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.state.currencies import check_amount, check_currency
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

COPIED = "description receipt_email setup_future_usage statement_descriptor statement_descriptor_suffix transfer_group"
EMPTY_OPTIONS = dict.fromkeys(("installments", "mandate_options", "network"))
UNPAID = {"requires_payment_method", "requires_confirmation", "requires_action"}
METHOD = "payment_method payment_method_data"
OPTIONS = "payment_method_options"
CONFIRMING = f"{METHOD} {OPTIONS} off_session error_on_requires_action return_url"


def new_intent(world: World, params: dict[str, Any], *, account: str) -> Object:
    """A PaymentIntent that nothing was tried on; raises for an amount or a currency that can't be charged."""
    currency = check_currency(params["currency"])
    check_amount(params["amount"], currency)
    if params.get("customer"):
        world.store.get("customer", params["customer"], account=account, param="customer")
    methods = params.get("automatic_payment_methods")
    if methods and not methods.get("enabled"):
        methods = None
    elif methods is None and "allowed_payment_method_types" not in params:
        methods = {"enabled": True}
    key = new_id("pi")
    intent: Object = {
        "id": key, "object": "payment_intent", "amount": params["amount"], "amount_capturable": 0,
        "amount_details": {"tip": {}}, "amount_received": 0, "application": None, "application_fee_amount": None,
        "automatic_payment_methods": {"allow_redirects": "always", **methods} if methods else None,
        "canceled_at": None, "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{key}_secret_{secrets.token_hex(12)}", "confirmation_method": "automatic",
        "created": world.clock.now(), "currency": currency, "customer": params.get("customer"),
        "last_payment_error": None, "latest_charge": None, "livemode": False, "metadata": {}, "next_action": None,
        "on_behalf_of": None, "payment_method": None, "payment_method_options": {}, "payment_method_types": ["card"],
        "processing": None, "review": None, "shipping": None, "source": None, "status": "requires_payment_method",
        "transfer_data": None,
    }  # fmt: skip
    intent |= {name: params.get(name) for name in COPIED.split()}
    take_options(intent, params)
    merge_metadata(intent, params)
    return world.store.add(intent, account=account)


def take_options(stored: Object, params: dict[str, Any]) -> None:
    """Keeps what is asked of the bank: https://docs.stripe.com/payments/3d-secure/authentication-flow."""
    if OPTIONS in params:
        card = only(only(params, OPTIONS, "card"), "card", "request_three_d_secure")
        stored[OPTIONS] = {"card": {**EMPTY_OPTIONS, "request_three_d_secure": "automatic", **card}}


def _take_method(world: World, intent: Object, params: dict[str, Any]) -> None:
    if "payment_method_data" in params:
        data = only(params, "payment_method_data", "type card billing_details")
        if data.get("type") != "card":
            raise not_simulated(f"payment methods of type {data.get('type')}")
        method = new_method(
            world, token_of(data.get("card", {})), account=intent["_account"], billing=data.get("billing_details")
        )
    elif "payment_method" in params:
        method = resolve(world, params["payment_method"], account=intent["_account"])
    else:
        return
    intent["payment_method"] = method["id"]
    if intent["status"] in UNPAID:
        intent["status"] = "requires_confirmation"


def _confirm(world: World, intent: Object, params: dict[str, Any]) -> Object:
    if not intent["payment_method"]:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state", payment_intent=shown(world, intent),
        )  # fmt: skip
    off_session = params.get("off_session") not in {None, False}
    automatic = intent["automatic_payment_methods"]
    redirects = automatic and automatic["allow_redirects"] == "always"
    if redirects and not params.get("return_url") and not off_session and not params.get("error_on_requires_action"):
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`.",
            param="return_url",
        )
    how = paying.Circumstances(
        off_session=off_session, no_action=bool(params.get("error_on_requires_action")),
        return_url=params.get("return_url"),
    )  # fmt: skip
    return paying.confirm(world, intent, how)


@operation(
    "POST /v1/payment_intents",
    f"amount currency customer automatic_payment_methods allowed_payment_method_types capture_method confirm metadata "
    f"{CONFIRMING} {COPIED}",
)
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/create"""
    params = call.params
    if params.get("allowed_payment_method_types", ["card"]) != ["card"]:
        raise not_simulated(f"payment method types {params['allowed_payment_method_types']}")
    for name in ("off_session", "error_on_requires_action", "return_url"):
        if params.get(name) and not params.get("confirm"):
            raise invalid(f"You can only set `{name}` when `confirm` is true.", param=name)
    intent = new_intent(call.world, params, account=call.account)
    _take_method(call.world, intent, params)
    call.world.emit("payment_intent.created", intent, account=call.account)
    return _confirm(call.world, intent, params) if params.get("confirm") else intent


@operation("POST /v1/payment_intents/{}", f"amount currency customer metadata {METHOD} {COPIED}")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/update"""
    intent, params = _open(call), call.params
    if set(params) - {"metadata", "description", "expand"}:
        _expect(call.world, intent, UNPAID, "update")
    currency = check_currency(params.get("currency") or intent["currency"])
    check_amount(params.get("amount") or intent["amount"], currency)
    if params.get("customer"):
        call.world.store.get("customer", params["customer"], account=call.account, param="customer")
    taken = ["amount", "customer", *COPIED.split()]
    intent |= {"currency": currency, **{name: params[name] for name in taken if name in params}}
    _take_method(call.world, intent, params)
    merge_metadata(intent, params)
    return intent


@operation("POST /v1/payment_intents/{}/confirm", f"{CONFIRMING} setup_future_usage receipt_email")
def confirm(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/confirm"""
    intent = _open(call)
    _expect(call.world, intent, UNPAID, "confirm")
    intent |= {name: call.params[name] for name in ("setup_future_usage", "receipt_email") if name in call.params}
    take_options(intent, call.params)
    _take_method(call.world, intent, call.params)
    return _confirm(call.world, intent, call.params)


@operation("POST /v1/payment_intents/{}/capture", "amount_to_capture final_capture metadata")
def capture(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/capture"""
    intent, world = _open(call), call.world
    _expect(world, intent, {"requires_capture"}, "capture")
    amount = int(call.params.get("amount_to_capture") or intent["amount_capturable"])
    if not 1 <= amount <= intent["amount_capturable"]:
        raise invalid(
            f"The amount_to_capture ({amount}) is greater than the amount capturable ({intent['amount_capturable']}).",
            param="amount_to_capture", code="amount_too_large",
        )  # fmt: skip
    if call.params.get("final_capture") is False:
        raise invalid("This PaymentIntent is not eligible for multicapture.", param="final_capture")
    charge = world.store.edit(intent["latest_charge"])
    method = world.store.get("payment_method", charge["payment_method"], account=call.account)
    charges.capture(world, charge, card_of(method), amount)
    charge["amount_refunded"] = charge["amount"] - amount
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    merge_metadata(intent, call.params)
    world.emit("charge.captured", charge, account=call.account)
    world.emit("payment_intent.succeeded", intent, account=call.account)
    return intent


@operation("POST /v1/payment_intents/{}/cancel", "cancellation_reason")
def cancel(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/cancel"""
    intent = _open(call)
    _expect(call.world, intent, UNPAID | {"requires_capture"}, "cancel")
    return paying.cancel(call.world, intent, call.params.get("cancellation_reason"))


@operation("GET /v1/payment_intents/{}", "client_secret")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/retrieve"""
    return call.world.store.get("payment_intent", call.args[0], account=call.account)


@operation("GET /v1/payment_intents", f"{PAGED} customer")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_intents/list"""
    mine = (each for each in call.world.store.of_kind("payment_intent") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


def _open(call: Call) -> Object:
    return call.world.store.edit(retrieve(call)["id"])


def _expect(world: World, intent: Object, statuses: set[str], verb: str) -> None:
    if intent["status"] not in statuses:
        raise _unexpected(world, intent, verb)


def _unexpected(world: World, intent: Object, verb: str) -> ApiError:
    return invalid(
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state", payment_intent=shown(world, intent),
    )  # fmt: skip
