"""The books as files for beancount and hledger: the whole ledger for operators, its own part for a firm.

The ledger's plus is what Fallow owes to a firm. To the platform that is a liability, so its signs turn; to the firm
it is an asset, and what stands against it is named after the journal's code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TextIO

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min

from marketplace.accounts.models import Firm
from marketplace.books.selectors import sold_by
from marketplace.books.statements import LABELS, Period
from marketplace.books.syntax import SYNTAXES, Entry, Frame
from marketplace.common.errors import FieldError, Invalid
from marketplace.ledger.folding import CHARGES
from marketplace.ledger.models import Account, AccountKind, Code, Journal
from marketplace.ledger.snapshots import balances_at

EVERYBODYS = """
SELECT j.id, j.public_id, j.at, j.code, j.subject, a.firm_id, a.kind, a.ref, e.currency, sum(e.amount_micros)::bigint
FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a ON a.id = e.account_id
WHERE j.at >= %(since)s AND j.at < %(until)s
GROUP BY j.id, a.firm_id, a.kind, a.ref, e.currency ORDER BY j.at, j.id, a.kind, a.ref, e.currency
"""
# From its own accounts and from what it sold: nothing of other firms is read.
A_FIRMS = """
SELECT j.id, j.public_id, j.at, j.code, j.subject, a.firm_id, a.kind, a.ref, e.currency, sum(e.amount_micros)::bigint
FROM ledger_account a JOIN ledger_entry e ON e.account_id = a.id JOIN ledger_journal j ON j.id = e.journal_id
WHERE a.firm_id = %(firm)s AND j.at >= %(since)s AND j.at < %(until)s
GROUP BY j.id, a.firm_id, a.kind, a.ref, e.currency
UNION ALL
SELECT j.id, j.public_id, j.at, j.code, j.subject, a.firm_id, a.kind, a.ref, e.currency, sum(e.amount_micros)::bigint
FROM unnest(%(sold)s::text[]) sold JOIN ledger_journal j ON j.subject = sold AND j.subject <> ''
JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a ON a.id = e.account_id
WHERE a.kind = 'platform_fee' AND j.code = ANY(%(charges)s) AND j.at >= %(since)s AND j.at < %(until)s
GROUP BY j.id, a.firm_id, a.kind, a.ref, e.currency
ORDER BY 3, 1, 7, 8, 9
"""
KINDS = {
    AccountKind.WALLET: "Wallet",
    AccountKind.ESCROW: "Held",
    AccountKind.EARNINGS: "Earned",
    AccountKind.PAYOUT: "Leaving",
    AccountKind.FROZEN: "Frozen",
}
PLATFORM = {
    AccountKind.PLATFORM_FEE: "Income:Fees",
    AccountKind.SUSPENSE: "Liabilities:Suspense",
    AccountKind.DISPUTE_LOSS: "Expenses:Disputes",
    AccountKind.RESERVE: "Equity:Reserve",
    AccountKind.OWN: "Equity:Own",
}
OF_A_GATEWAY = {AccountKind.CLEARING: "Assets:Clearing", AccountKind.GATEWAY_FEE: "Expenses:Gateways"}
OPENING = "Equity:Opening"
FEES = "Expenses:Fees"
# What stands against a firm's money, named after what it was for; whether it came or went says which side it is on.
AGAINST = {
    Code.DEPOSIT: ("Equity:Transfers", "Equity:Transfers"),
    Code.PAYOUT_PAID: ("Equity:Transfers", "Equity:Transfers"),
    Code.PAYOUT_RETURN: ("Equity:Transfers", "Equity:Transfers"),
    Code.DEPOSIT_REFUND: ("Equity:Transfers", "Equity:Transfers"),
    Code.RECONCILIATION: ("Equity:Transfers", "Equity:Transfers"),
    Code.SETTLEMENT: ("Income:Hours", "Expenses:Hours"),
    Code.CARD_SALE: ("Income:Cards", "Expenses:Cards"),
}


@dataclass(frozen=True, slots=True)
class Leg:
    """What a journal did to one account."""

    firm_id: int | None
    kind: str
    ref: str
    currency: str
    micros: int


@transaction.atomic
def write_books(*, out: TextIO, syntax: str, firm: Firm | None, period: Period | None, now: datetime) -> int:
    """Write a firm's books, or everybody's, as of one moment; returns how many transactions there are.

    Everything before `now` when no period is given. Call it outside of any transaction. Raises Invalid for a syntax
    that there is not, and for a period that has not begun.
    """
    if syntax not in SYNTAXES:
        raise Invalid(
            "write beancount or hledger", code="unknown_syntax", errors=(FieldError("?syntax", "unknown", ""),)
        )
    if period and period.since >= now:
        raise Invalid(
            "this period has not begun", code="period_not_begun", errors=(FieldError("?since", "future", ""),)
        )
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    since, until = (period.since, min(period.until, now)) if period else (_beginning(now), now)
    entries = [*_opening(firm, since), *_entries(firm, since, until)]
    for line in SYNTAXES[syntax](_frame(firm, since, until, entries), entries):
        out.write(line + "\n")
    return len(entries)


def _beginning(now: datetime) -> datetime:
    """When the oldest journal counts, from which on everything is written."""
    return Journal.objects.aggregate(first=Min("at"))["first"] or now


def _frame(firm: Firm | None, since: datetime, until: datetime, entries: Iterable[Entry]) -> Frame:
    """The balances of our own accounts are the ledger's; what stands against a firm's is only in the entries."""
    balances: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries:
        for account, currency, micros in entry.postings:
            balances[account, currency] += micros
    balances |= _held(firm, until)
    names: dict[str, str] = {}
    if firm is None:
        for each in Firm.objects.all():
            names |= {f"{_firm_account(each.public_id)}:{kind}": each.name for kind in KINDS.values()}
    last = (until - timedelta(microseconds=1)).astimezone(UTC).date()
    title = f"{firm.name if firm else settings.PLATFORM_NAME}: books of Fallow"
    return Frame(title, since.astimezone(UTC).date(), last, balances, names)


def _held(firm: Firm | None, at: datetime) -> dict[tuple[str, str], int]:
    accounts = Account.objects.filter(firm=firm) if firm else Account.objects.all()
    rows = {account.pk: account for account in accounts}
    name = _Namer(firm)
    held: dict[tuple[str, str], int] = defaultdict(int)
    for pk, micros in balances_at(at, list(rows) if firm else None).items():
        account = rows[pk]
        leg = Leg(account.firm_id, account.kind, account.ref, account.currency, micros)
        held[name.of(leg), account.currency] += name.sign * micros
    return held


def _opening(firm: Firm | None, since: datetime) -> Iterator[Entry]:
    held = {key: micros for key, micros in _held(firm, since).items() if micros}
    if not held:
        return
    rest: dict[str, int] = defaultdict(int)
    for (_, currency), micros in held.items():
        rest[currency] -= micros
    against = tuple((OPENING, currency, micros) for currency, micros in sorted(rest.items()) if micros)
    postings = tuple((account, currency, micros) for (account, currency), micros in sorted(held.items()))
    yield Entry(since.astimezone(UTC).date(), "Opening balances", "", "", postings + against)


def _entries(firm: Firm | None, since: datetime, until: datetime) -> Iterator[Entry]:
    name = _Namer(firm)
    given: dict[str, Any] = {"since": since, "until": until, "firm": firm.pk if firm else 0}
    given |= {"sold": sold_by(firm, since, until) if firm else [], "charges": [str(code) for code in CHARGES]}
    with connection.cursor() as cursor:
        cursor.execute(A_FIRMS if firm else EVERYBODYS, given)
        for (_, journal, at, code, subject), rows in groupby(cursor, key=lambda row: row[:5]):
            legs = [Leg(*row[5:]) for row in rows]
            postings = _merged((name.of(leg), leg.currency, name.sign * leg.micros) for leg in legs)
            if firm is not None:
                postings = _merged(_against(code, legs, firm))
            if postings:
                yield Entry(at.astimezone(UTC).date(), LABELS.get(code, code), subject, journal, postings)


def _against(code: str, legs: Iterable[Leg], firm: Firm) -> Iterator[tuple[str, str, int]]:
    """A firm's own legs, and in each currency what they stand against: the price and the fee apart for a seller."""
    name = _Namer(firm)
    own: dict[str, int] = defaultdict(int)
    fees: dict[str, int] = defaultdict(int)
    for leg in legs:
        if leg.firm_id == firm.pk:
            own[leg.currency] += leg.micros
            yield name.of(leg), leg.currency, leg.micros
        else:
            fees[leg.currency] += leg.micros
    fallback = "".join(word.capitalize() for word in code.split("_"))
    came, went = AGAINST.get(Code(code), (f"Income:{fallback}", f"Expenses:{fallback}"))
    for currency in sorted({*own, *fees}):
        gross = own[currency] + fees[currency]
        yield FEES, currency, fees[currency]
        yield came if gross > 0 else went, currency, -gross


def _merged(postings: Iterable[tuple[str, str, int]]) -> tuple[tuple[str, str, int], ...]:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for account, currency, micros in postings:
        sums[account, currency] += micros
    return tuple((account, currency, micros) for (account, currency), micros in sums.items() if micros)


class _Namer:
    """The names of accounts as a firm has them, or as the platform does."""

    def __init__(self, firm: Firm | None) -> None:
        self.firm, self.sign = firm, 1 if firm else -1
        self.firms = {} if firm else dict(Firm.objects.values_list("pk", "public_id"))

    def of(self, leg: Leg) -> str:
        """The account of a leg."""
        kind = KINDS.get(AccountKind(leg.kind), _component(leg.kind))
        if self.firm is not None:
            return f"Assets:Fallow:{kind}"
        if leg.firm_id is not None:
            return f"{_firm_account(self.firms[leg.firm_id])}:{kind}"
        if leg.kind in OF_A_GATEWAY:
            return f"{OF_A_GATEWAY[AccountKind(leg.kind)]}:{_component(leg.ref or 'none')}"
        return PLATFORM.get(AccountKind(leg.kind), f"Equity:{kind}")


def _firm_account(public_id: str) -> str:
    return f"Liabilities:Firms:F-{public_id.partition('_')[2]}"


def _component(text: str) -> str:
    """A name that both programs take: it begins with a capital or a digit, then letters, digits and dashes."""
    plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in text)
    return plain[:1].upper() + plain[1:]
