"""Recipients: accounts that take transfers, with Express dashboards. Version 2 of the API, or 1 where that is not on.

Source: https://docs.stripe.com/connect/accounts-v2, https://docs.stripe.com/connect/design-an-integration. The platform
pays the fees and bears the losses, Stripe collects what it must know of the seller.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import stripe
from django.conf import settings

from marketplace.payments.gateway import Order, Receipt

CALL = "fallow_call"
LOOKED_THROUGH = 10_000
FILLED_IN = {"fields": "eventually_due"}


def open_account(client: stripe.StripeClient, order: Order) -> Receipt:
    """An account without anything in it."""
    keyed: Any = {"idempotency_key": order.key}
    given: Any = _version_2(order) if settings.STRIPE_ACCOUNTS_VERSION == 2 else _version_1(order)
    if settings.STRIPE_ACCOUNTS_VERSION == 2:
        return Receipt(client.v2.core.accounts.create(given, keyed).id)
    return Receipt(client.v1.accounts.create(given, keyed).id)


def _version_2(order: Order) -> dict[str, Any]:
    transfers = {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
    responsible = {"fees_collector": "application", "losses_collector": "application"}
    return {
        "display_name": order.params["name"],
        "dashboard": "express",
        "identity": {"country": order.params["country"].lower(), "entity_type": "company"},
        "configuration": {"recipient": transfers},
        "defaults": {"responsibilities": responsible},
        "metadata": _named(order),
        "include": ["configuration.recipient", "requirements", "identity"],
    }


def _version_1(order: Order) -> dict[str, Any]:
    return {
        "country": order.params["country"],
        "controller": {
            "fees": {"payer": "application"},
            "losses": {"payments": "application"},
            "stripe_dashboard": {"type": "express"},
            "requirement_collection": "stripe",
        },
        "capabilities": {"transfers": {"requested": True}},
        "metadata": _named(order),
    }


def _named(order: Order) -> dict[str, str]:
    return {CALL: order.call_id, "firm": order.params["firm_id"]}


def find_account(client: stripe.StripeClient, order: Order) -> Receipt | None:
    """The account that an earlier attempt opened; newest first, for there is no search by metadata."""
    listed: Any
    if settings.STRIPE_ACCOUNTS_VERSION == 2:
        listed = client.v2.core.accounts.list({"limit": 100}).auto_paging_iter()
    else:
        listed = client.v1.accounts.list({"limit": 100}).auto_paging_iter()
    for account in islice(listed, LOOKED_THROUGH):
        if account.metadata and account.metadata.to_dict().get(CALL) == order.call_id:
            return Receipt(account.id)
    return None


def onboarding_url(client: stripe.StripeClient, account_id: str, *, refresh_url: str, return_url: str) -> str:
    """A link to the hosted form: https://docs.stripe.com/api/account_links. It works once."""
    there = {"refresh_url": refresh_url, "return_url": return_url, "collection_options": FILLED_IN}
    if settings.STRIPE_ACCOUNTS_VERSION == 2:
        use: Any = {"type": "account_onboarding", "account_onboarding": there}
        return str(client.v2.core.account_links.create({"account": account_id, "use_case": use}).url)
    given: Any = {"account": account_id, "type": "account_onboarding", **there}
    return str(client.v1.account_links.create(given).url)


def account_fact(client: stripe.StripeClient, account_id: str) -> dict[str, Any]:
    """What it can do and what is due; version 1 shows accounts of both versions."""
    account = client.v1.accounts.retrieve(account_id)
    needed = account.requirements
    due = sorted({*(needed.currently_due or ()), *(needed.past_due or ())}) if needed else []
    return {
        "account_id": account.id,
        "is_ready": getattr(account.capabilities, "transfers", None) == "active",
        "is_refused": bool(needed and str(needed.disabled_reason or "").startswith("rejected")),
        "due": due,
    }
