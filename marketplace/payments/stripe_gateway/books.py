"""Stripe's own books of the platform: its balance, its balance transactions, and what a payout is made of.

Source: https://docs.stripe.com/api/balance_transactions/list and https://docs.stripe.com/payouts/reconciliation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import stripe

from marketplace.payments.gateway import BookEntry, Holding
from marketplace.payments.stripe_gateway.coins import micros

PAGE = 100


def holdings(client: stripe.StripeClient) -> Mapping[str, Holding]:
    """What is available and what is pending, by currency; kinds of payment are added up."""
    balance = client.v1.balance.retrieve()
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    told: tuple[Any, Any] = balance.available, balance.pending
    for column, amounts in enumerate(told):
        for each in amounts:
            currency = each.currency.upper()
            sums[currency][column] += micros(each.amount, currency)
    return {currency: Holding(available, pending) for currency, (available, pending) in sums.items()}


def entries(client: stripe.StripeClient, since: datetime | None, after: str) -> tuple[Sequence[BookEntry], str]:
    """A page of balance transactions, newest first, and the id behind which the next one begins."""
    given: Any = {"limit": PAGE}
    given |= {"created": {"gte": int(since.timestamp())}} if since else {}
    given |= {"starting_after": after} if after else {}
    page = client.v1.balance_transactions.list(given)
    return [_entry(each) for each in page.data], page.data[-1].id if page.has_more else ""


def _entry(told: Any) -> BookEntry:
    currency = told.currency.upper()
    return BookEntry(
        id=told.id,
        type=told.type,
        currency=currency,
        amount_micros=micros(told.amount, currency),
        fee_micros=micros(told.fee, currency),
        net_micros=micros(told.net, currency),
        source=str(told.source or ""),
        at=datetime.fromtimestamp(told.created, UTC),
        available_on=datetime.fromtimestamp(told.available_on, UTC),
    )


def parts_of(client: stripe.StripeClient, payout_id: str) -> Sequence[str] | None:
    """The balance transactions of a payout, its own among them; None while Stripe has not put them together."""
    if client.v1.payouts.retrieve(payout_id).reconciliation_status != "completed":
        return None
    listed = client.v1.balance_transactions.list({"payout": payout_id, "limit": PAGE})
    return [each.id for each in listed.auto_paging_iter()]
