"""SetupIntents: saving a card for payments without the customer. https://docs.stripe.com/api/setup_intents"""

from __future__ import annotations

import secrets
from typing import Any

from marketplace.payments.stripesim.operations.cards import Authentication, message
from marketplace.payments.stripesim.operations.paying import ask
from marketplace.payments.stripesim.operations.payment_methods import attach, card_of, resolve
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, operation
from marketplace.payments.stripesim.protocol.errors import ApiError, declined, invalid
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}


def new_setup(world: World, params: dict[str, Any], *, account: str) -> Object:
    """A SetupIntent that nothing was tried on."""
    if params.get("customer"):
        world.store.get("customer", params["customer"], account=account, param="customer")
    key = new_id("seti")
    intent: Object = {
        "id": key, "object": "setup_intent", "application": None, "cancellation_reason": None,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "client_secret": f"{key}_secret_{secrets.token_hex(12)}", "created": world.clock.now(),
        "customer": params.get("customer"), "description": params.get("description"), "flow_directions": None,
        "last_setup_error": None, "latest_attempt": None, "livemode": False, "mandate": None, "metadata": {},
        "next_action": None, "on_behalf_of": None, "payment_method": None, "payment_method_options": {},
        "payment_method_types": ["card"], "single_use_mandate": None, "status": "requires_payment_method",
        "usage": params.get("usage", "off_session"),
    }  # fmt: skip
    merge_metadata(intent, params)
    return world.store.add(intent, account=account)


def try_card(world: World, intent: Object, key: str, return_url: str | None) -> Object:
    """Saves a card, or asks its holder first; raises Stripe's card_error for a refusal, which stays on record."""
    method = resolve(world, key, account=intent["_account"])
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    if card_of(method).authentication in {Authentication.ALWAYS, Authentication.UNLESS_SET_UP}:
        return ask(world, intent, return_url)
    return finish(world, intent)


def finish(world: World, intent: Object) -> Object:
    """The card is saved. Raises like `try_card`."""
    method = world.store.edit(intent["payment_method"])
    card = card_of(method)
    if not card.attaches:
        raise _refusal(world, intent, card.code or "card_declined", card.decline_code, message(card))
    if intent["customer"]:
        attach(world, method, intent["customer"])
    method["_set_up"] = intent["usage"] == "off_session"
    intent |= {"status": "succeeded", "next_action": None, "last_setup_error": None}
    world.emit("setup_intent.succeeded", intent, account=intent["_account"])
    return intent


def answer_bank(world: World, intent: Object, *, yes: bool) -> Object:
    """What the holder said on the bank's page about a set-up that waits for it. Raises like `try_card`."""
    if not yes:
        text = "The provided PaymentMethod has failed authentication."
        raise _refusal(world, intent, "setup_intent_authentication_failure", None, text)
    return finish(world, intent)


def _refusal(world: World, intent: Object, code: str, decline_code: str | None, text: str) -> ApiError:
    error = {"type": "card_error", "code": code, "message": text}
    if decline_code:
        error["decline_code"] = decline_code
    intent |= {
        "status": "requires_payment_method", "payment_method": None, "next_action": None, "last_setup_error": error
    }  # fmt: skip
    world.emit("setup_intent.setup_failed", intent, account=intent["_account"])
    return declined(text, code=code, decline_code=decline_code, setup_intent=shown(world, intent))


@operation(
    "POST /v1/setup_intents",
    "customer description usage confirm payment_method return_url metadata automatic_payment_methods",
)
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/setup_intents/create"""
    intent = new_setup(call.world, call.params, account=call.account)
    methods = call.params.get("automatic_payment_methods")
    if methods:
        intent["automatic_payment_methods"] = {"allow_redirects": "always", **methods} if methods["enabled"] else None
    call.world.emit("setup_intent.created", intent, account=call.account)
    if call.params.get("confirm"):
        return _confirm(call, intent)
    if "payment_method" in call.params:
        method = resolve(call.world, call.params["payment_method"], account=call.account)
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    return intent


@operation("POST /v1/setup_intents/{}/confirm", "payment_method return_url")
def confirm(call: Call) -> Object:
    """https://docs.stripe.com/api/setup_intents/confirm"""
    return _confirm(call, call.world.store.edit(retrieve(call)["id"]))


def _confirm(call: Call, intent: Object) -> Object:
    _expect_open(call, intent, "confirm")
    key = call.params.get("payment_method", intent["payment_method"])
    if not key:
        raise invalid(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            code="setup_intent_unexpected_state",
        )
    automatic = intent["automatic_payment_methods"]
    if automatic and automatic["allow_redirects"] == "always" and not call.params.get("return_url"):
        raise invalid(
            "This SetupIntent is configured to accept payment methods enabled in your Dashboard, some of which "
            "might redirect your customer: you must provide a `return_url`.",
            param="return_url",
        )
    return try_card(call.world, intent, key, call.params.get("return_url"))


@operation("POST /v1/setup_intents/{}/cancel", "cancellation_reason")
def cancel(call: Call) -> Object:
    """https://docs.stripe.com/api/setup_intents/cancel"""
    intent = call.world.store.edit(retrieve(call)["id"])
    _expect_open(call, intent, "cancel")
    intent |= {
        "status": "canceled", "cancellation_reason": call.params.get("cancellation_reason"), "next_action": None
    }  # fmt: skip
    call.world.emit("setup_intent.canceled", intent, account=call.account)
    return intent


def _expect_open(call: Call, intent: Object, verb: str) -> None:
    if intent["status"] not in OPEN:
        raise invalid(
            f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}.",
            code="setup_intent_unexpected_state", setup_intent=shown(call.world, intent),
        )  # fmt: skip


@operation("GET /v1/setup_intents/{}", "client_secret")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/setup_intents/retrieve"""
    return call.world.store.get("setup_intent", call.args[0], account=call.account)


@operation("GET /v1/setup_intents", f"{PAGED} customer payment_method")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/setup_intents/list"""
    mine = (each for each in call.world.store.of_kind("setup_intent") if each["_account"] == call.account)
    return page(mine, call.params, call.url)
