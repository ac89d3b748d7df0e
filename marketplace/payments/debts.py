"""What a payer owes for money that left the platform: taken out of its wallet and then its earnings, as far as they go.

Of one thing that is owed, named by `subject`, everybody gets his own back.
"""

from __future__ import annotations

from datetime import datetime

from django.db.models import Sum

from marketplace.accounts.models import Firm
from marketplace.ledger.models import Account, AccountKind, Code, Entry
from marketplace.ledger.selectors import account_for, lock_accounts
from marketplace.ledger.services import Leg, post


def take_owed(firm: Firm, owed_micros: int, *, into: Account, ref: str, code: Code, subject: str, now: datetime) -> int:
    """Move what there is of it; returns how much that was."""
    accounts = own_accounts(firm, into.currency)
    lock_accounts(account.pk for account in accounts)
    left = owed_micros
    legs: list[Leg] = []
    for account in accounts:
        account.refresh_from_db()
        part = min(left, account.balance_micros)
        legs, left = [*legs, Leg(account, -part)], left - part
    taken = owed_micros - left
    post(ref=ref, code=code, legs=[*legs, Leg(into, taken)], subject=subject, now=now)
    return taken


def give_back(firm: Firm, micros: int, *, out_of: Account, ref: str, code: Code, subject: str, now: datetime) -> None:
    """Move back what was taken: into the earnings what came out of them, and the rest into the wallet."""
    wallet, earnings = own_accounts(firm, out_of.currency)
    taken = Entry.objects.filter(account=earnings, journal__subject=subject)
    earned = -int(taken.aggregate(sum=Sum("amount_micros", default=0))["sum"])
    legs = [Leg(out_of, -micros), Leg(wallet, micros - earned), Leg(earnings, earned)]
    post(ref=ref, code=code, legs=legs, subject=subject, now=now)


def own_accounts(firm: Firm, currency: str) -> list[Account]:
    """Its wallet and its earnings."""
    return [account_for(firm=firm, kind=kind, currency=currency) for kind in (AccountKind.WALLET, AccountKind.EARNINGS)]
