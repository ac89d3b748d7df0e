"""Balances and statements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection
from django.db.models import QuerySet, Sum

from marketplace.accounts.models import Firm
from marketplace.ledger.models import FIRM_KINDS, Account, AccountKind, Entry

BALANCES_AFTER = """
WITH held AS (
    SELECT a.id, coalesce(s.through_entry, 9223372036854775807) AS through, CASE
        WHEN s.id IS NOT NULL THEN s.balance_micros WHEN a.is_running THEN a.balance_micros
        ELSE (SELECT coalesce(sum(amount_micros), 0) FROM ledger_entry WHERE account_id = a.id) END AS micros
    FROM ledger_account a LEFT JOIN LATERAL (
        SELECT id, through_entry, balance_micros FROM ledger_snapshot
        WHERE account_id = a.id AND through_entry >= %(last)s ORDER BY through_entry LIMIT 1
    ) s ON true WHERE a.id = ANY(%(accounts)s)
)
SELECT id, after FROM (
    SELECT e.id, (held.micros - coalesce(sum(e.amount_micros) OVER (
        PARTITION BY e.account_id ORDER BY e.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0))::bigint AS after
    FROM held JOIN ledger_entry e ON e.account_id = held.id AND e.id BETWEEN %(first)s AND held.through
) entries WHERE id = ANY(%(ids)s)
"""


@dataclass(frozen=True, slots=True)
class WalletBalances:
    """A firm's money in one currency, in micros."""

    currency: str
    available_micros: int
    reserved_micros: int
    earnings_micros: int
    paying_out_micros: int = 0
    frozen_micros: int = 0


def account_for(*, firm: Firm | None, kind: AccountKind, currency: str, ref: str = "") -> Account:
    """The account for a purpose; made when it is first asked for."""
    account, _ = Account.objects.get_or_create(
        firm=firm, kind=kind, currency=currency, ref=ref, defaults={"is_running": kind in FIRM_KINDS}
    )
    return account


def lock_accounts(account_ids: Iterable[int]) -> None:
    """Lock accounts in pk order until the end of the transaction, so that two postings can't deadlock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT fallow_lock_accounts(%s)", [sorted(set(account_ids))])


def balance_micros(*, firm: Firm | None, kind: AccountKind, currency: str, ref: str = "") -> int:
    """What an account holds; 0 when it was never used. Platform accounts are summed from their entries."""
    account = Account.objects.filter(firm=firm, kind=kind, currency=currency, ref=ref).first()
    if account is None:
        return 0
    return account.balance_micros if account.is_running else int(entries_total(account))


def entries_total(account: Account) -> int:
    """The sum of an account's entries."""
    return Entry.objects.filter(account=account).aggregate(total=Sum("amount_micros", default=0))["total"] or 0


def wallet_balances(firm: Firm) -> list[WalletBalances]:
    """One line per currency that the firm has ever used."""
    totals: dict[str, dict[str, int]] = {}
    rows = Account.objects.filter(firm=firm).values_list("currency", "kind").annotate(total=Sum("balance_micros"))
    for currency, kind, total in rows:
        totals.setdefault(currency, {})[kind] = total
    return [
        WalletBalances(
            currency=currency,
            available_micros=kinds.get(AccountKind.WALLET, 0),
            reserved_micros=kinds.get(AccountKind.ESCROW, 0),
            earnings_micros=kinds.get(AccountKind.EARNINGS, 0),
            paying_out_micros=kinds.get(AccountKind.PAYOUT, 0),
            frozen_micros=kinds.get(AccountKind.FROZEN, 0),
        )
        for currency, kinds in sorted(totals.items())
    ]


def statement(*, firm: Firm, kind: AccountKind | None, currency: str | None) -> QuerySet[Entry]:
    """The firm's entries, each with its journal and account."""
    entries = Entry.objects.filter(account__firm=firm).select_related("journal", "account")
    if kind:
        entries = entries.filter(account__kind=kind)
    return entries.filter(account__currency=currency) if currency else entries


def balances_after(entries: Iterable[Entry]) -> dict[int, int]:
    """Entry id → the balance of its account just after it. Postings lock the account, so ids are in their order.

    Counted back from the next snapshot, or from what the account holds now, so that neither the newest page reads what
    came before it nor an old one all that came after it.
    """
    by_id = {entry.pk: entry for entry in entries}
    if not by_id:
        return {}
    accounts = list({entry.account_id for entry in by_id.values()})
    with connection.cursor() as cursor:
        cursor.execute(
            BALANCES_AFTER, {"accounts": accounts, "ids": list(by_id), "first": min(by_id), "last": max(by_id)}
        )
        return dict(cursor.fetchall())
