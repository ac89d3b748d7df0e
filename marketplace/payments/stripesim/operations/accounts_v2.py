"""Connected accounts by version 2 of the API: https://docs.stripe.com/api/v2/core/accounts."""

from __future__ import annotations

from typing import Any

from marketplace.payments.stripesim.operations.accounts import changed, find, new_account
from marketplace.payments.stripesim.operations.onboarding import new_link
from marketplace.payments.stripesim.operations.table import Call, merge_metadata, only, operation
from marketplace.payments.stripesim.protocol.errors import invalid, missing, not_simulated
from marketplace.payments.stripesim.state.store import Object
from marketplace.payments.stripesim.world import World

RESPONSIBILITIES = {"fees_collector": "application", "losses_collector": "application"}
FIELDS = "contact_email contact_phone display_name identity configuration defaults metadata include"
DESCRIPTIONS = {"representative.first_name": "representative.given_name"}


@operation("POST /v2/core/accounts", f"{FIELDS} dashboard")
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/accounts/create: recipients, paid by transfers from the platform."""
    params, world = call.params, call.world
    if params.get("dashboard", "express") != "express":
        raise not_simulated(f"the dashboard {params['dashboard']}")
    identity = only(params, "identity", "country entity_type")
    account = new_account(world, country=identity.get("country"), email=params.get("contact_email"), capabilities=[])
    account["_v2"] = {
        "dashboard": "express",
        "identity": identity,
        "applied": False,
        "responsibilities": RESPONSIBILITIES,
    }
    _change(account, params)
    return v2_view(world, account, params.get("include", []))


@operation("POST /v2/core/accounts/{}", FIELDS)
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/accounts/update"""
    account = call.world.store.edit(_find(call)["id"])
    account["_v2"] = {"identity": {}, **account["_v2"]}
    account["_v2"]["identity"] |= only(call.params, "identity", "country entity_type")
    _change(account, call.params)
    changed(call.world, account)
    return v2_view(call.world, account, call.params.get("include", []))


def _change(account: Object, params: dict[str, Any]) -> None:
    """Takes over what was given; a capability that is asked for waits for the onboarding."""
    v2 = account["_v2"]
    v2 |= {name: params[name] for name in ("display_name", "contact_phone") if name in params}
    account["email"] = params.get("contact_email", account["email"])
    defaults = only(params, "defaults", "currency responsibilities locales profile")
    if defaults.get("responsibilities", RESPONSIBILITIES) != RESPONSIBILITIES:
        raise not_simulated("these responsibilities")
    if "currency" in defaults:
        account["default_currency"] = defaults["currency"]
    v2 |= {name: defaults[name] for name in ("locales", "profile") if name in defaults}
    recipient = only(only(params, "configuration", "recipient"), "recipient", "capabilities")
    balance = only(only(recipient, "capabilities", "stripe_balance"), "stripe_balance", "stripe_transfers")
    if balance.get("stripe_transfers", {}).get("requested"):
        v2["applied"] = True
        ready = "active" if account["details_submitted"] and not account["_due"] else "inactive"
        account["capabilities"].setdefault("transfers", ready)
    merge_metadata(account, params)


def v2_view(world: World, account: Object, include: list[str]) -> Object:
    """The account as version 2 shows it: details only as far as they are included."""
    v2, clock = account["_v2"], world.clock
    applied = "transfers" in account["capabilities"]
    identity = {"country": account["country"].lower(), **v2.get("identity", {})}
    details: Object = {
        "configuration": {"recipient": _recipient(account)} if applied else {},
        "identity": {**identity, "country": identity["country"].lower()},
        "requirements": _requirements(account),
        "defaults": {
            "currency": account["default_currency"], "locales": v2.get("locales"), "profile": v2.get("profile"),
            "responsibilities": {**RESPONSIBILITIES, "requirements_collector": "stripe"},
        },
    }  # fmt: skip
    for name in include:
        if name not in {"configuration.recipient", "identity", "requirements", "defaults"}:
            raise not_simulated(f"include={name}")
    wanted = {name.partition(".")[0] for name in include}
    return {
        "id": account["id"], "object": "v2.core.account", "applied_configurations": ["recipient"] if applied else [],
        "closed": v2.get("closed", False), "contact_email": account["email"], "contact_phone": v2.get("contact_phone"),
        "created": clock.iso(account["created"]), "dashboard": v2.get("dashboard", "express"),
        "display_name": v2.get("display_name"), "livemode": False, "metadata": account["metadata"],
        **{name: value if name in wanted else None for name, value in details.items()}, "future_requirements": None,
    }  # fmt: skip


def _recipient(account: Object) -> Object:
    status = account["capabilities"]["transfers"]
    reasons = []
    if status != "active":
        refused = account["_disabled"] == "rejected.other"
        status = "rejected" if refused else "restricted"
        code, way = ("rejected_other", "no_resolution") if refused else ("requirements_past_due", "provide_info")
        reasons = [{"code": code, "resolution": way}]
    capability = {"status": status, "status_details": reasons}
    return {"applied": True, "capabilities": {"stripe_balance": {"stripe_transfers": capability}}}


def _requirements(account: Object) -> Object:
    """One entry per detail that is still due."""
    past = {"status": "past_due"}
    impact = {"capability": "stripe_balance.stripe_transfers", "configuration": "recipient", "deadline": past}
    entries = [
        {
            "awaiting_action_from": "user", "description": DESCRIPTIONS.get(due, due), "errors": [],
            "impact": {"restricts_capabilities": [impact]}, "minimum_deadline": past, "reference": None,
            "requested_reasons": [{"code": "routine_onboarding"}],
        }
        for due in account["_due"]
    ]  # fmt: skip
    return {"entries": entries, "summary": {"minimum_deadline": {**past, "time": None}} if entries else None}


def _find(call: Call) -> Object:
    account = find(call.world, call.args[0], param="id")
    if account["_v2"].get("closed"):
        raise invalid("This account has been closed.", code="account_closed")
    return account


@operation("GET /v2/core/accounts/{}", "include")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/accounts/retrieve"""
    return v2_view(call.world, find(call.world, call.args[0], param="id"), call.params.get("include", []))


@operation("GET /v2/core/accounts", "applied_configurations closed limit")
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/accounts/list; the simulator has one page only."""
    accounts = [v2_view(call.world, each, []) for each in call.world.store.of_kind("account")]
    wanted = set(call.params.get("applied_configurations", []))
    closed = call.params.get("closed", False)
    fitting = [each for each in accounts if each["closed"] == closed and wanted <= set(each["applied_configurations"])]
    return {"data": fitting[: call.params.get("limit", 20)], "next_page_url": None, "previous_page_url": None}


@operation("POST /v2/core/accounts/{}/close", "applied_configurations")
def close(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/accounts/close: only with no money left."""
    account, books = call.world.store.edit(_find(call)["id"]), call.world.books
    if any(books.total(account["id"], currency) for currency in books.currencies(account["id"])):
        raise invalid("This account still has a balance and cannot be closed.")
    account["_v2"] = {**account["_v2"], "closed": True}
    account["capabilities"] = dict.fromkeys(account["capabilities"], "inactive")
    account["payouts_enabled"] = False
    return v2_view(call.world, account, [])


@operation("POST /v2/core/account_links", "account use_case")
def create_link(call: Call) -> Object:
    """https://docs.stripe.com/api/v2/core/account-links/create"""
    case = call.params["use_case"]
    if case["type"] != "account_onboarding":
        raise not_simulated(f"account links of type {case['type']}")
    onboarding = only(case, "account_onboarding", "configurations refresh_url return_url collection_options")
    account = call.world.store.find(call.params["account"])
    if account is None or account["object"] != "account":
        raise missing("account", call.params["account"], param="account")
    link = new_link(call.world, account["id"], refresh=onboarding["refresh_url"], back=onboarding.get("return_url"))
    clock = call.world.clock
    return {
        "object": "v2.core.account_link", "account": account["id"], "created": clock.iso(), "livemode": False,
        "expires_at": clock.iso(link["expires_at"]), "url": link["url"], "use_case": case,
    }  # fmt: skip
