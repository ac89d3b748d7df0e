"""Cards as payment methods: made from a test number or a test token, saved with a customer."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.cards import BY_NUMBER, CARDS, Card, message
from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, only, operation
from marketplace.payments.stripesim.protocol.errors import declined, invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

EMPTY_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def card_of(method: Object) -> Card:
    """The test card behind a payment method."""
    return CARDS[method["_card"]]


def billing_details(given: Object | None) -> Object:
    """Billing details with every field."""
    details = {"email": None, "name": None, "phone": None, "tax_id": None, **(given or {})}
    return {**details, "address": {**EMPTY_ADDRESS, **(details.get("address") or {})}}


def new_method(world: World, token: str, *, account: str, billing: Object | None = None) -> Object:
    """A payment method that behaves like the test card of that token."""
    card = CARDS[token]
    method = {
        "id": new_id("pm"), "object": "payment_method", "type": "card", "created": world.clock.now(),
        "livemode": False, "customer": None, "customer_account": None, "metadata": {},
        "allow_redisplay": "unspecified", "billing_details": billing_details(billing),
        "card": {
            "brand": card.brand, "country": card.country, "display_brand": card.brand, "exp_month": 12,
            "exp_year": 2034, "fingerprint": f"fp{card.number[::-1]}", "funding": card.funding, "last4": card.last4,
            "generated_from": None, "networks": {"available": [card.brand], "preferred": None}, "wallet": None,
            "regulated_status": "unregulated", "three_d_secure_usage": {"supported": True},
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        },
        "_card": token, "_set_up": False, "_used": False,
    }  # fmt: skip
    return world.store.add(method, account=account)


def resolve(world: World, key: str, *, account: str, param: str = "payment_method") -> Object:
    """The payment method of an id; a test token stands for a new one each time, as Stripe has it."""
    if key in CARDS:
        return new_method(world, key, account=account)
    return world.store.get("payment_method", key, account=account, param=param)


def token_of(card: Object) -> str:
    """The test token of card details; no number but the published ones is taken."""
    if "token" in card:
        token = "pm_card_" + str(card["token"]).removeprefix("tok_")
        if token not in CARDS:
            raise invalid(f"No such token: '{card['token']}'", param="card[token]", code="resource_missing")
        return token
    number = str(card.get("number", "")).replace(" ", "")
    if number not in BY_NUMBER:
        raise declined(
            "Your card was declined. Use a test card.", code="card_declined", decline_code="test_mode_live_card"
        )
    return BY_NUMBER[number]


def attach(world: World, method: Object, customer: str) -> Object:
    """Saves a payment method with a customer; raises what Stripe does for a card that is refused or another's."""
    card = card_of(method)
    if method["customer"] not in {None, customer}:
        raise invalid("The payment method you provided has already been attached to a customer.")
    if method["customer"] is None and method["_used"]:
        raise invalid(
            "This PaymentMethod was previously used without being attached to a Customer or was detached from a "
            "Customer, and may not be used again."
        )
    if not card.attaches:
        raise declined(message(card), code=card.code or "card_declined", decline_code=card.decline_code)
    editable = world.store.edit(method["id"])
    if editable["customer"] is None:
        editable["customer"] = customer
        world.emit("payment_method.attached", editable, account=method["_account"])
    return editable


@operation("POST /v1/payment_methods", "type card billing_details allow_redisplay metadata")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/create"""
    if call.params.get("type") != "card":
        raise not_simulated(f"payment methods of type {call.params.get('type')}")
    card = only(call.params, "card", "number exp_month exp_year cvc token")
    method = new_method(call.world, token_of(card), account=call.account, billing=call.params.get("billing_details"))
    method["card"] |= {name: card[name] for name in ("exp_month", "exp_year") if name in card}
    method["allow_redisplay"] = call.params.get("allow_redisplay", "unspecified")
    merge_metadata(method, call.params)
    return method


@operation("POST /v1/payment_methods/{}", "billing_details allow_redisplay metadata")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/update"""
    method = call.world.store.edit(retrieve(call)["id"])
    if "billing_details" in call.params:
        method["billing_details"] = billing_details(call.params["billing_details"])
    method["allow_redisplay"] = call.params.get("allow_redisplay", method["allow_redisplay"])
    merge_metadata(method, call.params)
    return method


@operation("GET /v1/payment_methods/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/retrieve"""
    return call.world.store.get("payment_method", call.args[0], account=call.account)


@operation("GET /v1/payment_methods", f"{PAGED} customer type allow_redisplay")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/list"""
    mine = (each for each in call.world.store.of_kind("payment_method") if each["_account"] == call.account)
    return page(mine, call.params, call.url)


@operation("POST /v1/payment_methods/{}/attach", "customer")
def attach_to_customer(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/attach"""
    if "customer" not in call.params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    call.world.store.get("customer", call.params["customer"], account=call.account, param="customer")
    method = resolve(call.world, call.args[0], account=call.account, param="id")
    return attach(call.world, method, call.params["customer"])


@operation("POST /v1/payment_methods/{}/detach")
def detach(call: Call) -> Object:
    """https://docs.stripe.com/api/payment_methods/detach"""
    method = call.world.store.edit(retrieve(call)["id"])
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
    method |= {"customer": None, "_used": True}
    call.world.emit("payment_method.detached", method, account=call.account)
    return method
