"""Confirming a payment: authentication, refusal or success. Pages and API calls come here alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketplace.payments.stripesim.operations import charges
from marketplace.payments.stripesim.operations.cards import Authentication, Card, message
from marketplace.payments.stripesim.operations.payment_methods import attach, card_of
from marketplace.payments.stripesim.protocol.errors import ApiError, declined, invalid
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.state.store import Object
from marketplace.payments.stripesim.world import World, job

ASKED_AGAIN = "Your card was declined. This transaction requires authentication."


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a payment is confirmed; `authenticated` once the holder has said yes."""

    off_session: bool = False
    no_action: bool = False
    authenticated: bool = False
    return_url: str | None = None


def must_authenticate(card: Card, method: Object, intent: Object, how: Circumstances) -> bool:
    """https://docs.stripe.com/testing#regulatory-cards; a card that is not enrolled is never asked."""
    if how.authenticated or card.authentication == Authentication.NEVER:
        return False
    asked = (intent["payment_method_options"] or {}).get("card", {}).get("request_three_d_secure")
    if asked in {"any", "challenge"}:
        return True
    if card.authentication == Authentication.WHEN_ASKED:
        return False
    if card.authentication == Authentication.UNLESS_SET_UP:
        return not method["_set_up"]
    if card.authentication == Authentication.ON_SESSION:
        return not how.off_session
    return True


def confirm(world: World, intent: Object, how: Circumstances) -> Object:
    """Tries to pay; `intent` is open for writing. Raises Stripe's card_error for a refusal, which stays on record."""
    method = world.store.edit(intent["payment_method"])
    _check_owner(intent, method)
    card = card_of(method)
    if must_authenticate(card, method, intent, how):
        if how.off_session or how.no_action:
            raise _refuse(world, intent, method, "authentication_required", "authentication_required", ASKED_AGAIN)
        return ask(world, intent, how.return_url)
    if card.code:
        raise _refuse(world, intent, method, card.code, card.decline_code, message(card))
    return _succeed(world, intent, method, how)


def _check_owner(intent: Object, method: Object) -> None:
    """https://docs.stripe.com/payments/payment-methods: a saved one goes with its customer, a used one is gone."""
    if method["customer"] and method["customer"] != intent["customer"]:
        raise invalid(
            f"The PaymentMethod {method['id']} belongs to a Customer. Please include the Customer in the `customer` "
            "parameter on the PaymentIntent.",
            param="payment_method",
        )
    if method["customer"] is None and method["_used"]:
        raise invalid(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared "
            "with a connected account without Customer attachment, or was detached from a Customer. It may not be "
            "used again.",
            param="payment_method",
        )


def ask(world: World, intent: Object, return_url: str | None) -> Object:
    """Leaves the payment waiting for the holder, with the page where he says yes or no."""
    url = f"{world.public_url}/authenticate/{intent['id']}"
    redirect = {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}
    inside = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url}}
    intent |= {"status": "requires_action", "next_action": redirect if return_url else inside}
    world.emit(f"{intent['object']}.requires_action", intent, account=intent["_account"])
    return intent


def _refuse(world: World, intent: Object, method: Object, code: str, decline_code: str | None, text: str) -> ApiError:
    """Records a failed charge and gives the error to raise."""
    card, account = card_of(method), intent["_account"]
    charge = charges.new_charge(world, intent, method, authenticated=False)
    charges.fail(charge, card, code=code, decline_code=decline_code, text=text)
    error: dict[str, Any] = {
        "type": "card_error", "code": code, "message": text, "charge": charge["id"],
        "payment_method": shown(world, method),
        "doc_url": f"https://docs.stripe.com/error-codes#{code.replace('_', '-')}",
    }  # fmt: skip
    if decline_code:
        error["decline_code"] = decline_code
    intent |= {
        "status": "requires_payment_method", "payment_method": None, "latest_charge": charge["id"],
        "last_payment_error": error, "next_action": None,
    }  # fmt: skip
    world.emit("charge.failed", charge, account=account)
    world.emit("payment_intent.payment_failed", intent, account=account)
    return declined(
        text, code=code, decline_code=decline_code, charge=charge["id"], doc_url=error["doc_url"],
        payment_intent=shown(world, intent), payment_method=shown(world, method),
    )  # fmt: skip


def _succeed(world: World, intent: Object, method: Object, how: Circumstances) -> Object:
    account, manual = intent["_account"], intent["capture_method"] == "manual"
    if intent["setup_future_usage"] and intent["customer"]:
        attach(world, method, intent["customer"])
        method["_set_up"] = True
    method["_used"] = True
    charge = charges.new_charge(world, intent, method, authenticated=how.authenticated)
    intent |= {"latest_charge": charge["id"], "next_action": None, "last_payment_error": None}
    if manual:
        charges.hold(world, charge, off_session=how.off_session)
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        world.emit("charge.succeeded", charge, account=account)
        world.emit("payment_intent.amount_capturable_updated", intent, account=account)
    else:
        charges.capture(world, charge, card_of(method), intent["amount"])
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        world.emit("charge.succeeded", charge, account=account)
        world.emit("payment_intent.succeeded", intent, account=account)
    return intent


def answer_bank(world: World, intent: Object, *, yes: bool) -> Object:
    """What the holder said on the bank's page about a payment that waits for it. Raises like `confirm`."""
    if not yes:
        code = "payment_intent_authentication_failure"
        text = "The provided PaymentMethod has failed authentication."
        raise _refuse(world, intent, world.store.edit(intent["payment_method"]), code, None, text)
    return confirm(world, intent, Circumstances(authenticated=True))


def cancel(world: World, intent: Object, reason: str | None) -> Object:
    """Ends a payment that was not made, and lets go of what was held: the charge counts as refunded."""
    if intent["latest_charge"] and intent["status"] == "requires_capture":
        charge = world.store.edit(intent["latest_charge"])
        charge |= {"refunded": True, "amount_refunded": charge["amount"]}
        kind = "charge.expired" if reason == "automatic" else "charge.refunded"
        world.emit(kind, charge, account=intent["_account"])
    intent |= {
        "status": "canceled", "canceled_at": world.clock.now(), "cancellation_reason": reason,
        "amount_capturable": 0, "next_action": None,
    }  # fmt: skip
    world.emit("payment_intent.canceled", intent, account=intent["_account"])
    return intent


@job("authorisation_expires")
def authorisation_expires(world: World, about: Object) -> None:
    """https://docs.stripe.com/payments/place-a-hold-on-a-payment-method: released, and the payment canceled."""
    intent = world.store.edit(about["payment_intent"])
    if intent["status"] == "requires_capture":
        cancel(world, intent, "automatic")
