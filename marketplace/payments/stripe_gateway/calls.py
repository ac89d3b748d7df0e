"""Each operation as one request, with the row's idempotency key; and how to find what an earlier attempt made.

Our name for the call goes into `metadata`, by which it is found again: https://docs.stripe.com/metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import stripe

from marketplace.payments.gateway import Operation, Order, Receipt
from marketplace.payments.stripe_gateway.coins import coins

CALL = "fallow_call"
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


CALLS: Mapping[Operation, Call] = {
    Operation.OPEN_CHECKOUT: Call(_open_checkout, _find_checkout),
    Operation.CLOSE_CHECKOUT: Call(_close_checkout, _find_closed),
}
