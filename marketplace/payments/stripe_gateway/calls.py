"""Each operation as one request, with the row's idempotency key; and how to find what an earlier attempt made.

Our name for the call goes into `metadata`, by which it is found again: https://docs.stripe.com/metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import stripe

from marketplace.payments.gateway import GatewayError, Operation, Order, Receipt, Trouble
from marketplace.payments.stripe_gateway.accounts import CALL, find_account, open_account
from marketplace.payments.stripe_gateway.coins import coins

SLACK = timedelta(hours=1)  # between our clock and Stripe's


@dataclass(frozen=True, slots=True)
class Call:
    """How an operation is requested, and among which objects its effect is looked for."""

    request: Callable[[stripe.StripeClient, Order], Receipt]
    look: Callable[[stripe.StripeClient, Order], Receipt | None]


def _marked(order: Order, **more: str) -> dict[str, str]:
    return {CALL: order.call_id, **more}


def _keyed(order: Order) -> Any:
    return {"idempotency_key": order.key}


def _money(params: Mapping[str, Any]) -> int:
    return coins(params["amount_micros"], params["currency"])


def _mine(objects: Iterable[Any], order: Order) -> Any:
    """The object that carries the call's name; None when there is none."""
    fitting = (each for each in objects if each.metadata and each.metadata.to_dict().get(CALL) == order.call_id)
    return next(fitting, None)


def _since(order: Order) -> Any:
    assert order.since is not None
    return {"created": {"gte": int((order.since - SLACK).timestamp())}, "limit": 100}


def _asked_of_the_bank(params: Mapping[str, Any]) -> dict[str, Any]:
    """3-D Secure where we want more of it than Stripe: https://docs.stripe.com/payments/3d-secure/authentication-flow."""
    wanted = params.get("three_d_secure", "automatic")
    if wanted == "automatic":
        return {}
    return {"payment_method_options": {"card": {"request_three_d_secure": wanted}}}


def _page(session: Any) -> Receipt:
    return Receipt(session.id, {"url": session.url or "", "expires_at": session.expires_at})


def _open_checkout(client: stripe.StripeClient, order: Order) -> Receipt:
    params, named = order.params, {"deposit": order.params["deposit_id"]}
    price = {
        "currency": params["currency"].lower(),
        "unit_amount": _money(params),
        "product_data": {"name": params["title"]},
    }
    given: Any = {
        "mode": "payment",
        "client_reference_id": params["deposit_id"],
        "success_url": params["success_url"],
        "cancel_url": params["cancel_url"],
        "line_items": [{"quantity": 1, "price_data": price}],
        "payment_intent_data": {"metadata": _marked(order, **named), "transfer_group": params["deposit_id"]},
        "metadata": _marked(order, **named),
        **({"customer": params["customer_id"]} if params["customer_id"] else {}),
        **_asked_of_the_bank(params),
    }
    return _page(client.v1.checkout.sessions.create(given, _keyed(order)))


def _find_checkout(client: stripe.StripeClient, order: Order) -> Receipt | None:
    found = _mine(client.v1.checkout.sessions.list(_since(order)).auto_paging_iter(), order)
    return None if found is None else _page(found)


def _close_checkout(client: stripe.StripeClient, order: Order) -> Receipt:
    return Receipt(client.v1.checkout.sessions.expire(order.params["page_id"], {}, _keyed(order)).id)


def _find_closed(client: stripe.StripeClient, order: Order) -> Receipt | None:
    page = client.v1.checkout.sessions.retrieve(order.params["page_id"])
    return Receipt(page.id) if page.status != "open" else None


def _open_card_page(client: stripe.StripeClient, order: Order) -> Receipt:
    """Two requests with keys of their own: both are repeated as they were after a failure between them."""
    params, customer = order.params, order.params["customer_id"]
    if not customer:
        given: Any = {"name": params["name"], "metadata": _marked(order)}
        customer = client.v1.customers.create(given, {"idempotency_key": f"{order.key}:customer"}).id
    page: Any = {
        "mode": "setup",
        "currency": params["currency"].lower(),
        "customer": customer,
        "client_reference_id": params["card_id"],
        "success_url": params["success_url"],
        "cancel_url": params["cancel_url"],
        "metadata": _marked(order),
    }
    session = client.v1.checkout.sessions.create(page, _keyed(order))
    return Receipt(session.id, {"url": session.url or "", "customer_id": customer})


def _find_card_page(client: stripe.StripeClient, order: Order) -> Receipt | None:
    found = _mine(client.v1.checkout.sessions.list(_since(order)).auto_paging_iter(), order)
    return None if found is None else Receipt(found.id, {"url": found.url or "", "customer_id": found.customer})


def _charge_saved(client: stripe.StripeClient, order: Order) -> Receipt:
    """https://docs.stripe.com/payments/save-and-reuse: a bank that asks the holder is a refusal, not a question."""
    params = order.params
    given: Any = {
        "amount": _money(params),
        "currency": params["currency"].lower(),
        "customer": params["customer_id"],
        "payment_method": params["method_id"],
        "off_session": True,
        "confirm": True,
        "error_on_requires_action": True,
        "transfer_group": params["deposit_id"],
        "metadata": _marked(order, deposit=params["deposit_id"]),
        **_asked_of_the_bank(params),
    }
    return Receipt(client.v1.payment_intents.create(given, _keyed(order)).id)


def _find_charge(client: stripe.StripeClient, order: Order) -> Receipt | None:
    given: Any = {**_since(order), "customer": order.params["customer_id"]}
    found = _mine(client.v1.payment_intents.list(given).auto_paging_iter(), order)
    if found is None or found.status in {"succeeded", "processing"}:
        return None if found is None else Receipt(found.id)
    error = found.last_payment_error
    raise GatewayError(Trouble.FINAL, "the card was refused", code=str(error.code) if error else "refused")


def _refund(client: stripe.StripeClient, order: Order) -> Receipt:
    given: Any = {
        "payment_intent": order.params["payment_id"],
        "amount": _money(order.params),
        "reason": "requested_by_customer",
        "metadata": _marked(order),
    }
    return Receipt(client.v1.refunds.create(given, _keyed(order)).id)


def _find_refund(client: stripe.StripeClient, order: Order) -> Receipt | None:
    given: Any = {"payment_intent": order.params["payment_id"], "limit": 100}
    found = _mine(client.v1.refunds.list(given).auto_paging_iter(), order)
    return None if found is None else Receipt(found.id)


def moved(object_: Any) -> Receipt:
    """A transfer or a reversal, with the entry that it made in Stripe's books; LOOK again while there is none."""
    if not object_.balance_transaction:
        raise GatewayError(Trouble.LOOK, f"{object_.id} is not in the gateway's books yet")
    return Receipt(object_.id, {"entry_id": str(object_.balance_transaction)})


def _transfer(client: stripe.StripeClient, order: Order) -> Receipt:
    """Without a source transaction: out of what is available; where that is too little, later."""
    params = order.params
    given: Any = {
        "amount": _money(params),
        "currency": params["currency"].lower(),
        "destination": params["account_id"],
        "transfer_group": params["transfer_id"],
        "metadata": _marked(order),
    }
    return moved(client.v1.transfers.create(given, _keyed(order)))


def _find_transfer(client: stripe.StripeClient, order: Order) -> Receipt | None:
    given: Any = {"transfer_group": order.params["transfer_id"], "limit": 100}
    found = _mine(client.v1.transfers.list(given).auto_paging_iter(), order)
    return None if found is None else moved(found)


def _reverse(client: stripe.StripeClient, order: Order) -> Receipt:
    given: Any = {"amount": _money(order.params), "metadata": _marked(order)}
    return moved(client.v1.transfers.reversals.create(order.params["object_id"], given, _keyed(order)))


def _find_reversal(client: stripe.StripeClient, order: Order) -> Receipt | None:
    listed = client.v1.transfers.reversals.list(order.params["object_id"], {"limit": 100}).auto_paging_iter()
    found = _mine(listed, order)
    return None if found is None else moved(found)


def _submit_evidence(client: stripe.StripeClient, order: Order) -> Receipt:
    """https://docs.stripe.com/api/disputes/update: it goes to the bank, once."""
    given: Any = {"evidence": dict(order.params["evidence"]), "submit": True, "metadata": _marked(order)}
    return Receipt(client.v1.disputes.update(order.params["object_id"], given, _keyed(order)).id)


def _find_evidence(client: stripe.StripeClient, order: Order) -> Receipt | None:
    found = _mine([client.v1.disputes.retrieve(order.params["object_id"])], order)
    return None if found is None else Receipt(found.id)


CALLS: Mapping[Operation, Call] = {
    Operation.OPEN_CHECKOUT: Call(_open_checkout, _find_checkout),
    Operation.CLOSE_CHECKOUT: Call(_close_checkout, _find_closed),
    Operation.OPEN_CARD_PAGE: Call(_open_card_page, _find_card_page),
    Operation.CHARGE_SAVED: Call(_charge_saved, _find_charge),
    Operation.REFUND: Call(_refund, _find_refund),
    Operation.TRANSFER: Call(_transfer, _find_transfer),
    Operation.REVERSE_TRANSFER: Call(_reverse, _find_reversal),
    Operation.SUBMIT_EVIDENCE: Call(_submit_evidence, _find_evidence),
    Operation.OPEN_ACCOUNT: Call(open_account, find_account),
}
