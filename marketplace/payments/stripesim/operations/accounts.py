"""Connected accounts by version 1 of the API: https://docs.stripe.com/api/accounts. Version 2 sees the same ones."""

from __future__ import annotations

from typing import Any

from marketplace.payments.stripesim.operations.table import PAGED, Call, merge_metadata, only, operation
from marketplace.payments.stripesim.protocol.errors import invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page, whole
from marketplace.payments.stripesim.protocol.shown import view
from marketplace.payments.stripesim.state.store import Object, new_id
from marketplace.payments.stripesim.world import World

# Countries whose firms Stripe serves: https://stripe.com/global. Not all of them.
COUNTRIES = frozenset((
    "AT", "AU", "BE", "BG", "BR", "CA", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "GI", "GR",
    "HK", "HR", "HU", "IE", "IT", "JP", "LI", "LT", "LU", "LV", "MT", "MX", "MY", "NL", "NO", "NZ", "PL", "PT",
    "RO", "SE", "SG", "SI", "SK", "TH", "US",
))  # fmt: skip
CURRENCY_OF = {
    "AU": "aud", "BR": "brl", "CA": "cad", "CH": "chf", "CZ": "czk", "DK": "dkk", "GB": "gbp", "HK": "hkd",
    "HU": "huf", "JP": "jpy", "MX": "mxn", "MY": "myr", "NO": "nok", "NZ": "nzd", "PL": "pln", "RO": "ron",
    "SE": "sek", "SG": "sgd", "TH": "thb", "US": "usd",
}  # fmt: skip
PROFILE = (
    "annual_revenue", "estimated_worker_count", "mcc", "name", "product_description", "support_address",
    "support_email", "support_phone", "support_url", "url",
)  # fmt: skip
DUE = ["business_profile.url", "external_account", "representative.first_name", "tos_acceptance.date"]
TAKES = "country email controller capabilities business_type business_profile metadata settings default_currency type"
CONTROLLER = {
    "fees": {"payer": "application"}, "losses": {"payments": "application"}, "stripe_dashboard": {"type": "express"},
    "requirement_collection": "stripe",
}  # fmt: skip


def new_account(world: World, *, country: str | None, email: str | None, capabilities: list[str]) -> Object:
    """A connected account that nobody has filled in yet."""
    country = (country or "US").upper()
    if country not in COUNTRIES:
        raise invalid(f"{country} is not currently supported by Stripe.", param="country", code="country_unsupported")
    key = new_id("acct").replace("acct_", "acct_1")
    account: Object = {
        "id": key, "object": "account", "business_type": None, "country": country, "created": world.clock.now(),
        "business_profile": dict.fromkeys(PROFILE),
        "capabilities": dict.fromkeys(capabilities, "inactive"), "charges_enabled": False,
        "controller": {"is_controller": True, "type": "application", **CONTROLLER},
        "default_currency": CURRENCY_OF.get(country, "eur"), "details_submitted": False, "email": email,
        "metadata": {}, "payouts_enabled": False, "tos_acceptance": {"date": None}, "type": "none",
        "_due": list(DUE), "_disabled": "requirements.past_due", "_banks": [], "_v2": {},
    }  # fmt: skip
    return world.store.add(account)


@view("account")
def seen(world: World, stored: Object) -> Object:
    """An account with what is still asked of it."""
    banks = [bank for each in stored["_banks"] if (bank := world.store.find(each))]
    requirements: Object = {
        "alternatives": [], "current_deadline": None, "currently_due": stored["_due"], "errors": [],
        "disabled_reason": stored["_disabled"], "eventually_due": stored["_due"], "past_due": stored["_due"],
        "pending_verification": [],
    }  # fmt: skip
    nothing: Object = {
        **requirements,
        "currently_due": [],
        "eventually_due": [],
        "past_due": [],
        "disabled_reason": None,
    }
    payouts = {
        "debit_negative_balances": True,
        "statement_descriptor": None,
        "schedule": {"delay_days": 2, "interval": "manual"},
    }
    url = f"/v1/accounts/{stored['id']}/external_accounts"
    public = [{key: value for key, value in bank.items() if not key.startswith("_")} for bank in banks]
    return {
        **stored, "requirements": requirements, "future_requirements": nothing,
        "external_accounts": whole(public, url),
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_payments": {"statement_descriptor_prefix": None},
            "dashboard": {"display_name": stored["_v2"].get("display_name"), "timezone": "Etc/UTC"},
            "payments": {"statement_descriptor": None}, "payouts": payouts,
        },
    }  # fmt: skip


def changed(world: World, account: Object) -> Object:
    """Tells the platform that a connected account is not what it was."""
    world.emit("account.updated", account, account=account["id"])
    return account


def find(world: World, key: str, *, param: str = "account") -> Object:
    """A connected account; raises what Stripe does for an account of nobody's."""
    return world.store.get("account", key, param=param)


def _ask_for(account: Object, params: dict[str, Any]) -> None:
    for name, wanted in (params.get("capabilities") or {}).items():
        if name not in {"transfers", "card_payments"}:
            raise not_simulated(f"the capability {name}")
        if wanted.get("requested"):
            ready = "active" if account["details_submitted"] and not account["_due"] else "inactive"
            account["capabilities"].setdefault(name, ready)


@operation("POST /v1/accounts", TAKES)
def create(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/create: recipients whose dashboard and verification are Stripe's."""
    params = call.params
    if "type" in params and "controller" in params:
        raise invalid("The parameter `type` may not be given with `controller`.", param="type")
    if params.get("type", "express") != "express":
        raise not_simulated(f"accounts of type {params['type']}")
    controller = params.get("controller") or CONTROLLER
    if any(controller.get(name, wanted) != wanted for name, wanted in CONTROLLER.items()):
        raise not_simulated("this kind of controller")
    _check_settings(params)
    account = new_account(call.world, country=params.get("country"), email=params.get("email"), capabilities=[])
    account["type"] = params.get("type", "none")
    account["business_type"] = params.get("business_type")
    account["default_currency"] = params.get("default_currency", account["default_currency"])
    account["business_profile"] |= params.get("business_profile") or {}
    _ask_for(account, params)
    merge_metadata(account, params)
    return account


def _check_settings(params: dict[str, Any]) -> None:
    payouts = only(only(params, "settings", "payouts"), "payouts", "schedule debit_negative_balances")
    interval = only(payouts, "schedule", "interval").get("interval", "manual")
    if interval != "manual":
        raise not_simulated(f"automatic payouts ({interval})")


@operation("POST /v1/accounts/{}", "email business_type business_profile capabilities metadata settings")
def update(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/update"""
    account, params = call.world.store.edit(find(call.world, call.args[0])["id"]), call.params
    _check_settings(params)
    account |= {name: params[name] for name in ("email", "business_type") if name in params}
    account["business_profile"] |= params.get("business_profile") or {}
    _ask_for(account, params)
    merge_metadata(account, params)
    return changed(call.world, account)


@operation("GET /v1/accounts/{}")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/retrieve"""
    return find(call.world, call.args[0], param="id")


@operation("GET /v1/accounts", PAGED)
def list_all(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/list"""
    return page(call.world.store.of_kind("account"), call.params, call.url)


@operation("DELETE /v1/accounts/{}")
def delete(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/delete: only with no money left."""
    account, books = retrieve(call), call.world.books
    if any(books.total(account["id"], currency) for currency in books.currencies(account["id"])):
        raise invalid("This account still has a balance and cannot be deleted.", param="id")
    call.world.store.remove(account["id"])
    return {"id": account["id"], "object": "account", "deleted": True}


@operation("POST /v1/accounts/{}/login_links")
def login_link(call: Call) -> Object:
    """https://docs.stripe.com/api/accounts/login_link/create"""
    account = find(call.world, call.args[0])
    if not account["details_submitted"]:
        raise invalid("Cannot create a login link for an account that has not completed onboarding.")
    url = f"{call.world.public_url}/dashboard/{account['id']}"
    return {"object": "login_link", "created": call.world.clock.now(), "url": url}


@operation("GET /v1/accounts/{}/external_accounts", "object limit")
def list_banks(call: Call) -> Object:
    """https://docs.stripe.com/api/external_account_bank_accounts/list"""
    account = retrieve(call)
    banks = [bank for each in account["_banks"] if (bank := call.world.store.find(each))]
    return whole(banks, call.url)


@operation("GET /v1/accounts/{}/capabilities/{}")
def capability(call: Call) -> Object:
    """https://docs.stripe.com/api/capabilities/retrieve"""
    account, name = retrieve(call), call.args[1]
    if name not in account["capabilities"]:
        raise invalid(f"No such capability: '{name}'", param="capability", code="resource_missing")
    return capability_of(call.world, account, name)


def capability_of(world: World, account: Object, name: str) -> Object:
    """The capability as an object of its own."""
    requirements = seen(world, account)["requirements"]
    return {
        "id": name, "object": "capability", "account": account["id"], "requested": True,
        "requested_at": account["created"], "status": account["capabilities"][name], "requirements": requirements,
    }  # fmt: skip
