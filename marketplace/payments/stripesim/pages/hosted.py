"""The hosted pages by address: Checkout, the bank's question, onboarding."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl

from marketplace.payments.stripesim.operations import checkout, onboarding
from marketplace.payments.stripesim.operations.cards import CARDS
from marketplace.payments.stripesim.pages.html import choices, notice, page, redirect
from marketplace.payments.stripesim.protocol.errors import ApiError
from marketplace.payments.stripesim.server import Answer, Request
from marketplace.payments.stripesim.state.currencies import exponent
from marketplace.payments.stripesim.state.store import Object
from marketplace.payments.stripesim.world import World

OFFERED = [
    ("pm_card_visa", "Visa that pays"),
    ("pm_card_bypassPending", "Visa that pays, money available at once"),
    ("pm_card_authenticationRequired", "Visa whose bank asks each time"),
    ("pm_card_authenticationRequiredOnSetup", "Visa whose bank asks once"),
    ("pm_card_visa_chargeDeclined", "Visa that is declined"),
    ("pm_card_visa_chargeDeclinedInsufficientFunds", "Visa without enough money"),
    ("pm_card_createDispute", "Visa whose holder disputes the payment"),
    ("pm_card_refundFail", "Visa that refuses refunds"),
]


def handle(world: World, request: Request) -> Answer:
    """The page, or where to go from it."""
    parts = request.path.strip("/").split("/")
    form = dict(parse_qsl(request.body.decode("utf-8", "replace"))) if request.method == "POST" else None
    show = {"checkout": _checkout, "authenticate": _authenticate, "onboarding": _onboarding}.get(parts[0])
    if show is None or len(parts) < 2:
        return page("There is no such page", "", status=404)
    try:
        return show(world, parts[1:], form)
    except ApiError as refusal:
        return page("This link does not work", notice(refusal.fields["message"]), status=404)


def _checkout(world: World, parts: list[str], form: dict[str, str] | None) -> Answer:
    key, back = parts[0], parts[1:] == ["back"]
    if form is not None:
        return _pay(world, key, form.get("card", ""))
    with world.transaction():
        session = world.store.get("checkout.session", key)
        if session["status"] == "complete":
            return redirect(session["success_url"].replace("{CHECKOUT_SESSION_ID}", key))
        if session["status"] == "expired":
            return page("This payment page has expired", _cancel_link(session), status=410)
        if back:
            return redirect(f"{world.public_url}/checkout/{key}")
        return page("Save a card" if session["mode"] == "setup" else "Pay", _checkout_form(session))


def _checkout_form(session: Object) -> str:
    lines = "".join(
        f"<li>{escape(line['description'])} × {line['quantity']}: {_money(line['amount_total'], line['currency'])}</li>"
        for line in session["_lines"]
    )
    button = f"Pay {_money(session['amount_total'], session['currency'])}" if lines else "Save card"
    return (
        f"{notice(session['_notice'])}<ul>{lines}</ul>"
        f'<form method="post">{choices("card", "Test card", OFFERED, first="pm_card_visa")}'
        f'<button type="submit">{escape(button)}</button></form>{_cancel_link(session)}'
    )


def _cancel_link(session: Object) -> str:
    url = session["cancel_url"]
    return f'<p><a href="{escape(url)}">Back to the shop</a></p>' if url else ""


def _money(amount: int, currency: str) -> str:
    digits = exponent(currency)
    whole, rest = divmod(amount, 10**digits)
    return f"{whole}.{rest:0{digits}d} {currency.upper()}" if digits else f"{whole} {currency.upper()}"


def _pay(world: World, key: str, token: str) -> Answer:
    """A refusal is shown on the page, which stays open for another card."""
    here = f"{world.public_url}/checkout/{key}"
    if token not in CARDS:
        return redirect(here)
    try:
        with world.transaction():
            session = world.store.edit(world.store.get("checkout.session", key)["id"])
            if session["status"] != "open":
                return redirect(here)
            intent = checkout.pay(world, session, token)
            if intent["status"] == "requires_action":
                return redirect(f"{world.public_url}/authenticate/{intent['id']}")
    except ApiError as refusal:
        with world.transaction():
            world.store.edit(key)["_notice"] = refusal.fields["message"]
    return redirect(here)


def _authenticate(world: World, parts: list[str], form: dict[str, str] | None) -> Answer:
    """The bank's page: https://docs.stripe.com/payments/3d-secure."""
    intent = world.store.find(parts[0])
    if not intent or intent["status"] != "requires_action":
        return page("Nothing to confirm", "<p>The bank has no question any more.</p>", status=410)
    back = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
    if form is None:
        buttons = '<button name="answer" value="yes">Complete</button><button name="answer" value="no">Fail</button>'
        return page("Your bank asks: is this you?", f'<form method="post">{buttons}</form>')
    outcome = "succeeded"
    try:
        with world.transaction():
            checkout.answer(world, intent["id"], yes=form.get("answer") == "yes")
    except ApiError as refusal:
        outcome = "failed"
        checkout.put_notice(world, intent["id"], refusal.fields["message"])
    if back is None:
        return page("Thank you", "<p>You can close this page.</p>")
    joint, kind = "&" if "?" in back else "?", intent["object"]
    return redirect(f"{back}{joint}{kind}={intent['id']}&redirect_status={outcome}")


def _onboarding(world: World, parts: list[str], form: dict[str, str] | None) -> Answer:
    """A link opens the form once; a used or old one sends the visitor back for another."""
    with world.transaction():
        link = world.store.get("_link", parts[0])
        if form is not None:
            if not link["opened"] or link.get("done"):
                return redirect(link["refresh_url"])
            onboarding.fill_in(world, link["account"], form.get("outcome", "complete"))
            world.store.edit(link["id"])["done"] = True
            return redirect(link["return_url"])
        opened = onboarding.open_link(world, link["id"])
        if opened is None:
            return redirect(link["refresh_url"])
    outcomes = choices("outcome", "What do you tell Stripe?", list(onboarding.OUTCOMES.items()), first="complete")
    return page("Get paid", f'<form method="post">{outcomes}<button type="submit">Submit</button></form>')
