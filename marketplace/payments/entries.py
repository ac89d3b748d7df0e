"""A line of a gateway's own books in ours: what it moved, what it kept, and whose money it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.gateway import GatewayError, Trouble


def book_entry(
    *,
    gateway: str,
    entry: Mapping[str, Any],
    account: Account,
    code: Code,
    subject: str,
    now: datetime,
    data: Mapping[str, Any] | None = None,
) -> bool:
    """Post it once, by its id: `account` gets the amount (gives it, below zero), the platform bears the fee.

    False when it was posted before. Raises GatewayError for a line in another currency.
    """
    currency, amount, fee = account.currency, entry["amount_micros"], entry["fee_micros"]
    if entry["currency"] != currency:
        raise GatewayError(Trouble.ASK, f"{entry['id']} is in {entry['currency']}, not in {currency}")
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=gateway)
    expense = account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=currency, ref=gateway)
    legs = [Leg(outside, fee - amount), Leg(expense, -fee), Leg(account, amount)]
    return post(ref=f"{gateway}:{entry['id']}", code=code, legs=legs, subject=subject, now=now, data=data)
