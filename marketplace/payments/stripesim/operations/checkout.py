"""Checkout Sessions: https://docs.stripe.com/api/checkout/sessions. The page is in pages/checkout.py."""

from __future__ import annotations

import secrets
from typing import Any

from marketplace.payments.stripesim.operations import paying, payment_intents, setup_intents
from marketplace.payments.stripesim.operations.payment_methods import resolve
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, only, operation
from marketplace.payments.stripesim.protocol.errors import invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page, whole
from marketplace.payments.stripesim.protocol.shown import includable
from marketplace.payments.stripesim.state.clock import DAY_S
from marketplace.payments.stripesim.state.currencies import check_amount, check_currency
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World, job

LIVES_S = DAY_S
OPTIONS = payment_intents.OPTIONS
TEXTS = ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
LIVES_MIN_S = 1_800
INTENT_FIELDS = (
    "capture_method description metadata receipt_email setup_future_usage statement_descriptor "
    "statement_descriptor_suffix transfer_group"
)
TAKES = (
    "mode customer customer_email customer_creation client_reference_id success_url cancel_url line_items metadata "
    "payment_method_options "
    "payment_intent_data setup_intent_data currency expires_at ui_mode allowed_payment_method_types locale submit_type"
)


def _lines(world: World, given: list[Object]) -> tuple[str, list[Object]]:
    """The currency and the lines; all of one currency, priced in the request itself."""
    lines, currencies = [], set()
    for each in given:
        only({"line": each}, "line", "quantity price_data")
        if "price_data" not in each:
            raise not_simulated("prices that are made beforehand")
        price = only(each, "price_data", "currency unit_amount product_data tax_behavior")
        currency, quantity, unit = check_currency(price["currency"]), each.get("quantity", 1), price["unit_amount"]
        if "product_data" not in price:
            raise invalid("Missing required param: line_items[0][price_data][product_data].", code="parameter_missing")
        currencies.add(currency)
        total = unit * quantity
        lines.append({
            "id": new_id("li"), "object": "item", "amount_discount": 0, "amount_subtotal": total, "amount_tax": 0,
            "amount_total": total, "currency": currency, "description": price["product_data"]["name"],
            "quantity": quantity, "price": None, "metadata": {}, "adjustable_quantity": None,
        })  # fmt: skip
    if len(currencies) != 1:
        raise invalid("All line items must have the same currency.", param="line_items")
    currency = currencies.pop()
    check_amount(sum(line["amount_total"] for line in lines), currency)
    return currency, lines


def _session(world: World, params: dict[str, Any], currency: str | None, lines: list[Object]) -> Object:
    total = sum(line["amount_total"] for line in lines) if lines else None
    key = f"cs_test_{secrets.token_hex(24)}"
    email = params.get("customer_email")
    return {
        "id": key, "object": "checkout.session", "adaptive_pricing": None, "after_expiration": None,
        "allow_promotion_codes": None, "amount_subtotal": total, "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None, "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"), "client_secret": None,
        "collected_information": None, "consent": None, "consent_collection": None, "created": world.clock.now(),
        "currency": currency, "currency_conversion": None, "custom_fields": [],
        "custom_text": dict.fromkeys(TEXTS),
        "customer": params.get("customer"), "customer_creation": params.get("customer_creation", "if_required"),
        "customer_details": None, "customer_email": email, "discounts": [] if lines else None,
        "expires_at": params.get("expires_at", world.clock.now() + LIVES_S), "invoice": None, "livemode": False,
        "locale": params.get("locale"), "metadata": {}, "mode": params["mode"], "origin_context": None,
        "payment_intent": None, "payment_link": None, "payment_method_collection": "if_required",
        "payment_method_configuration_details": None, "payment_method_options": {}, "payment_method_types": ["card"],
        "payment_status": "unpaid" if lines else "no_payment_required", "permissions": None,
        "phone_number_collection": {"enabled": False}, "recovered_from": None, "saved_payment_method_options": None,
        "setup_intent": None, "shipping_address_collection": None, "shipping_cost": None, "shipping_options": [],
        "status": "open", "submit_type": params.get("submit_type"), "subscription": None,
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0} if lines else None,
        "ui_mode": "hosted_page", "url": f"{world.public_url}/checkout/{key}", "wallet_options": None,
        "_lines": lines, "_intent": {}, "_notice": None,
    }  # fmt: skip


@operation("POST /v1/checkout/sessions", TAKES)
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/checkout/sessions/create"""
    params, world = call.params, call.world
    _check(call)
    paying_now = params["mode"] == "payment"
    currency, lines = _lines(world, params["line_items"]) if paying_now else (params.get("currency"), [])
    session = _session(world, params, currency, lines)
    data = "payment_intent_data" if paying_now else "setup_intent_data"
    session["_intent"] = only(params, data, INTENT_FIELDS if paying_now else "description metadata")
    asked = only(only(params, OPTIONS, "card"), "card", "request_three_d_secure")
    session[OPTIONS] = {"card": asked} if asked else {}
    merge_metadata(session, params)
    world.store.add(session, account=call.account)
    if not paying_now:
        intent = setup_intents.new_setup(world, session["_intent"] | _customer(session), account=call.account)
        session["setup_intent"] = intent["id"]
        world.emit("setup_intent.created", intent, account=call.account)
    world.later(session["expires_at"] - world.clock.now(), "checkout_expires", session=session["id"])
    return session


def _check(call: Call) -> None:
    params, now = call.params, call.world.clock.now()
    if params.get("mode") not in {"payment", "setup"}:
        raise not_simulated(f"Checkout in mode {params.get('mode')}")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise not_simulated(f"Checkout with ui_mode {params['ui_mode']}")
    if params.get("allowed_payment_method_types", ["card"]) != ["card"]:
        raise not_simulated(f"payment method types {params['allowed_payment_method_types']}")
    if not params.get("success_url"):
        raise invalid("Missing required param: success_url.", param="success_url", code="parameter_missing")
    if params["mode"] == "payment" and not params.get("line_items"):
        raise invalid("Missing required param: line_items.", param="line_items", code="parameter_missing")
    if not now + LIVES_MIN_S <= params.get("expires_at", now + LIVES_S) <= now + LIVES_S:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from now.", param="expires_at"
        )
    if params.get("customer") and params.get("customer_email"):
        raise invalid("You may only specify one of these parameters: customer, customer_email.")
    if params.get("customer"):
        call.world.store.get("customer", params["customer"], account=call.account, param="customer")


def _customer(session: Object) -> Object:
    return {"customer": session["customer"]} if session["customer"] else {}


def pay(world: World, session: Object, token: str) -> Object:
    """The visitor gave a card. Gives the intent, which may wait for the holder; raises like the API for a refusal."""
    if session["mode"] == "setup":
        intent = world.store.edit(session["setup_intent"])
        setup_intents.try_card(world, intent, token, _back(world, session))
    else:
        intent = _intent(world, session)
        intent["payment_method"] = resolve(world, token, account=session["_account"])["id"]
        paying.confirm(world, intent, paying.Circumstances(return_url=_back(world, session)))
    finish(world, session, intent)
    return intent


def _intent(world: World, session: Object) -> Object:
    """The session's PaymentIntent, made on the first attempt."""
    if session["payment_intent"]:
        return world.store.edit(session["payment_intent"])
    params = {
        **session["_intent"], **_customer(session), "amount": session["amount_total"], "currency": session["currency"],
        OPTIONS: session[OPTIONS],
    }  # fmt: skip
    intent = payment_intents.new_intent(world, params, account=session["_account"])
    session["payment_intent"] = intent["id"]
    world.emit("payment_intent.created", intent, account=session["_account"])
    return intent


def _back(world: World, session: Object) -> str:
    return f"{world.public_url}/checkout/{session['id']}/back"


def finish(world: World, session: Object, intent: Object) -> None:
    """Completes a session whose intent has come to its end; does nothing before that."""
    if session["status"] != "open" or intent["status"] not in {"succeeded", "requires_capture"}:
        return
    customer = world.store.find(session["customer"]) if session["customer"] else None
    email = customer["email"] if customer else session["customer_email"] or "visitor@example.com"
    session |= {
        "status": "complete", "url": None, "_notice": None,
        "customer_details": {
            "address": None, "business_name": None, "email": email, "individual_name": None,
            "name": customer["name"] if customer else None, "phone": None, "tax_exempt": "none", "tax_ids": [],
        },
    }  # fmt: skip
    if session["mode"] == "payment":
        session["payment_status"] = "paid" if intent["status"] == "succeeded" else "unpaid"
    world.emit("checkout.session.completed", session, account=session["_account"])


def end(world: World, session: Object) -> Object:
    """Closes an open session."""
    session |= {"status": "expired", "url": None}
    if session["payment_intent"]:
        paying.cancel(world, world.store.edit(session["payment_intent"]), None)
    world.emit("checkout.session.expired", session, account=session["_account"])
    return session


@job("checkout_expires")
def checkout_expires(world: World, about: Object) -> None:
    """A session that nobody finished in time."""
    session = world.store.edit(about["session"])
    if session["status"] == "open":
        end(world, session)


@operation("POST /v1/checkout/sessions/{}/expire")
def expire(call: Call) -> Object:
    """https://docs.stripe.com/api/checkout/sessions/expire"""
    session = call.world.store.edit(retrieve(call)["id"])
    if session["status"] != "open":
        raise invalid(f"Only Checkout Sessions with a status of open can be expired; it is {session['status']}.")
    return end(call.world, session)


@operation("GET /v1/checkout/sessions/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/checkout/sessions/retrieve"""
    return call.world.store.get("checkout.session", call.args[0], account=call.account)


@operation("GET /v1/checkout/sessions", f"{PAGED} customer payment_intent status")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/checkout/sessions/list"""
    mine = (each for each in call.world.store.of_kind("checkout.session") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


@operation("GET /v1/checkout/sessions/{}/line_items")
def list_lines(call: Call) -> Object:
    """https://docs.stripe.com/api/checkout/sessions/line_items"""
    return whole(retrieve(call)["_lines"], call.url)


@includable("checkout.session", "line_items")
def line_items(world: World, session: Object) -> Object:
    """The lines, there when asked for."""
    return whole(session["_lines"], f"/v1/checkout/sessions/{session['id']}/line_items")


def answer(world: World, key: str, *, yes: bool) -> Object:
    """The holder's answer to the bank, and the end of the session that the intent belongs to. Raises for a refusal."""
    intent = world.store.edit(key)
    if intent["status"] != "requires_action":
        raise invalid("Nothing is waiting for the holder's answer.")
    waiting = setup_intents if intent["object"] == "setup_intent" else paying
    waiting.answer_bank(world, intent, yes=yes)
    session = session_of(world, key)
    if session:
        finish(world, world.store.edit(session["id"]), intent)
    return intent


def session_of(world: World, key: str) -> Object | None:
    """The session of an intent, None for an intent without one."""
    fitting = (
        each
        for each in world.store.of_kind("checkout.session")
        if key in {each["payment_intent"], each["setup_intent"]}
    )
    return next(fitting, None)


def put_notice(world: World, key: str, text: str) -> None:
    """Has the session's page tell why the last attempt failed."""
    with world.transaction():
        session = session_of(world, key)
        if session:
            world.store.edit(session["id"])["_notice"] = text
