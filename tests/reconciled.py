"""Stripe's books beside ours, compared entry by entry: a plain oracle for trials."""

from __future__ import annotations

import stripe

from marketplace.ledger.models import AccountKind, Entry
from marketplace.ledger.selectors import account_for
from tests.stripesim import every


def unreconciled(client: stripe.StripeClient) -> tuple[list[str], int]:
    """Entries of Stripe's books and of our clearing account that do not fit each other one to one; how many it has."""
    theirs = {f"stripe:{each.id}": each.net * 10_000 for each in every(client.v1.balance_transactions.list)}
    clearing = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="stripe")
    ours = dict(Entry.objects.filter(account=clearing).values_list("journal__ref", "amount_micros"))
    differ = set(theirs) ^ set(ours)
    return sorted(differ | {ref for ref in set(theirs) & set(ours) if theirs[ref] != -ours[ref]}), len(theirs)
