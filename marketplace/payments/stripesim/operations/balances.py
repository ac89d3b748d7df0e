"""Balances and what they are made of: https://docs.stripe.com/api/balance and …/balance_transactions."""

from __future__ import annotations

from marketplace.payments.stripesim.operations.table import PAGED, Call, only, operation
from marketplace.payments.stripesim.protocol.errors import invalid, not_simulated
from marketplace.payments.stripesim.protocol.lists import page
from marketplace.payments.stripesim.protocol.shown import view
from marketplace.payments.stripesim.state.store import PLATFORM, Object
from marketplace.payments.stripesim.world import World

SETTLEMENT = {"delay_days": 2, "delay_days_override": None, "start_of_day": None}


@operation("GET /v1/balance")
def retrieve(call: Call) -> Object:
    """https://docs.stripe.com/api/balance/balance_retrieve"""
    books, account = call.world.books, call.account
    currencies = books.currencies(account) or ["usd"]

    def amounts(of: str) -> list[Object]:
        worth = books.available if of == "available" else books.pending
        found = [(currency, worth(account, currency)) for currency in currencies]
        return [
            {"amount": amount, "currency": currency, "source_types": {"card": amount}} for currency, amount in found
        ]

    balance: Object = {
        "object": "balance", "available": amounts("available"), "pending": amounts("pending"), "livemode": False
    }  # fmt: skip
    if account == PLATFORM:
        reserved = [{"amount": 0, "currency": currency, "source_types": {"card": 0}} for currency in currencies]
        balance["connect_reserved"] = reserved
    return balance


@view("balance_transaction")
def seen(world: World, stored: Object) -> Object:
    """A balance transaction with its status of the moment."""
    return {**stored, "status": world.books.status(stored)}


@operation("GET /v1/balance_transactions/{}")
def retrieve_transaction(call: Call) -> Object:
    """https://docs.stripe.com/api/balance_transactions/retrieve"""
    return call.world.store.get("balance_transaction", call.args[0], account=call.account)


@operation("GET /v1/balance_transactions", f"{PAGED} type currency source payout")
def list_transactions(call: Call) -> Object:
    """https://docs.stripe.com/api/balance_transactions/list; by `payout` only for automatic ones."""
    params, parts = dict(call.params), None
    if "payout" in params:
        payout = call.world.store.get("payout", params.pop("payout"), account=call.account, param="payout")
        if not payout["automatic"]:
            raise invalid(
                "Balance transaction history can only be filtered on automatic payouts, not manual.", param="payout"
            )
        parts = payout["_parts"] if payout["reconciliation_status"] == "completed" else ()
    mine = (
        each
        for each in call.world.store.of_kind("balance_transaction")
        if each["_account"] == call.account and (parts is None or each["id"] in parts)
    )
    return page(mine, params, call.url)


def settings_of(world: World, account: str) -> Object:
    """An account's settings; payouts are manual, for the simulator makes none of itself."""
    found = world.store.find(f"settings:{account}")
    return found or {
        "id": f"settings:{account}", "object": "balance_settings",
        "payments": {
            "debit_negative_balances": True, "settlement_timing": dict(SETTLEMENT),
            "payouts": {
                "minimum_balance_by_currency": None, "schedule": {"interval": "manual"}, "statement_descriptor": None,
                "status": "enabled",
            },
        },
    }  # fmt: skip


@view("balance_settings")
def settings_seen(world: World, stored: Object) -> Object:
    """Balance settings have no id."""
    return {key: value for key, value in stored.items() if key != "id"}


@operation("GET /v1/balance_settings")
def retrieve_settings(call: Call) -> Object:
    """https://docs.stripe.com/api/balance-settings/object"""
    return settings_of(call.world, call.account)


@operation("POST /v1/balance_settings", "payments")
def update_settings(call: Call) -> Object:
    """https://docs.stripe.com/api/balance-settings/update"""
    payments = only(call.params, "payments", "payouts debit_negative_balances")
    payouts = only(payments, "payouts", "schedule statement_descriptor minimum_balance_by_currency")
    interval = only(payouts, "schedule", "interval").get("interval", "manual")
    if interval != "manual":
        raise not_simulated(f"automatic payouts ({interval})")
    settings = settings_of(call.world, call.account)
    kept = settings["payments"]
    changed = {
        **kept, "payouts": {**kept["payouts"], **payouts, "schedule": {"interval": interval}},
        "debit_negative_balances": payments.get("debit_negative_balances", kept["debit_negative_balances"]),
    }  # fmt: skip
    fresh = call.world.store.add({**settings, "payments": changed}, account=call.account)
    call.world.emit("balance_settings.updated", fresh, account=call.account)
    return fresh
