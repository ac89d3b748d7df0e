"""Onboarding: links to the hosted form, and what its answers do to an account. https://docs.stripe.com/api/account_links"""

from __future__ import annotations

import secrets

from marketplace.payments.stripesim.operations.accounts import DUE, capability_of, changed, find
from marketplace.payments.stripesim.operations.table import Call, operation
from marketplace.payments.stripesim.protocol.errors import invalid, not_simulated
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

LIVES_S = 300
OUTCOMES = {
    "complete": "All details are right",
    "payouts_fail": "All details are right, but the bank refuses every payout",
    "incomplete": "Leave the representative out for now",
    "rejected": "The details can't be verified",
}


def new_link(world: World, account: str, *, refresh: str, back: str | None) -> Object:
    """A link that works once and for a few minutes."""
    key = f"link_{secrets.token_urlsafe(18)}"
    return world.store.add({
        "id": key, "object": "_link", "account": account, "refresh_url": refresh, "return_url": back or refresh,
        "expires_at": world.clock.now() + LIVES_S, "opened": False, "url": f"{world.public_url}/onboarding/{key}",
    })  # fmt: skip


def open_link(world: World, key: str) -> Object | None:
    """Uses a link up; None when it was used or is too old, and the visitor has to be sent to its refresh_url."""
    link = world.store.edit(key)
    usable = not link["opened"] and link["expires_at"] > world.clock.now()
    link["opened"] = True
    return link if usable else None


@operation("POST /v1/account_links", "account type refresh_url return_url collection_options")
def create_link(call: Call) -> Object:
    """https://docs.stripe.com/api/account_links/create"""
    params = call.params
    if params["type"] != "account_onboarding":
        raise not_simulated(f"account links of type {params['type']}")
    for name in ("refresh_url", "return_url"):
        if not params.get(name):
            raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
    find(call.world, params["account"])
    link = new_link(call.world, params["account"], refresh=params["refresh_url"], back=params["return_url"])
    return {
        "object": "account_link", "created": call.world.clock.now(), "expires_at": link["expires_at"],
        "url": link["url"],
    }  # fmt: skip


def fill_in(world: World, key: str, outcome: str) -> Object:
    """What the seller's answers do; `outcome` is one of OUTCOMES."""
    if outcome not in OUTCOMES:
        raise invalid(f"Choose one of {', '.join(OUTCOMES)}.", param="outcome")
    account = world.store.edit(find(world, key)["id"])
    well = outcome in {"complete", "payouts_fail"}
    account["_due"] = [] if outcome != "incomplete" else [DUE[2]]
    disabled = {"incomplete": "requirements.past_due", "rejected": "rejected.other"}
    account |= {
        "details_submitted": outcome != "incomplete", "payouts_enabled": well, "_disabled": disabled.get(outcome),
        "tos_acceptance": {"date": world.clock.now()},
        "charges_enabled": well and "card_payments" in account["capabilities"],
    }  # fmt: skip
    if well and not account["_banks"]:
        account["_banks"] = [_bank(world, account, fails=outcome == "payouts_fail")["id"]]
    before = dict(account["capabilities"])
    account["capabilities"] = dict.fromkeys(before, "active" if well else "inactive")
    for name, status in account["capabilities"].items():
        if before[name] != status:
            world.emit("capability.updated", capability_of(world, account, name), account=key)
    return changed(world, account)


def _bank(world: World, account: Object, *, fails: bool) -> Object:
    """The seller's bank account. The failing number is of https://docs.stripe.com/connect/testing#account-numbers."""
    bank = world.store.add({
        "id": new_id("ba"), "object": "bank_account", "account": account["id"], "account_holder_name": None,
        "account_holder_type": "company", "account_type": None, "available_payout_methods": ["standard"],
        "bank_name": "STRIPE TEST BANK", "country": account["country"], "currency": account["default_currency"],
        "default_for_currency": True, "fingerprint": "fpbank", "last4": "1116" if fails else "6789", "metadata": {},
        "routing_number": "110000000", "status": "new", "_fails": fails,
    }, account=account["id"])  # fmt: skip
    world.emit("account.external_account.created", bank, account=account["id"])
    return bank
