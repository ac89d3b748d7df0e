"""A firm's entries of a period [since, until) by `Journal.at`, added up per subject. Amounts are micros."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from marketplace.accounts.models import Firm
from marketplace.ledger.models import Account, Code, Entry
from marketplace.ledger.snapshots import balances_at, last_entry_before

CHARGES = (Code.SETTLEMENT, Code.CARD_SALE)  # what a fee is taken out of

FOLDED = """
WITH mine AS (
    SELECT a.id, a.kind, coalesce(s.through_entry, 0) AS behind FROM ledger_account a LEFT JOIN LATERAL (
        SELECT through_entry FROM ledger_snapshot
        WHERE account_id = a.id AND newest_at < %(since)s ORDER BY through_entry DESC LIMIT 1
    ) s ON true WHERE a.firm_id = %(firm)s AND a.currency = %(currency)s
)
SELECT j.code, j.subject, CASE WHEN %(by_day)s THEN (j.at AT TIME ZONE 'UTC')::date END AS day,
    count(DISTINCT j.id), min(j.at), max(j.at),
    coalesce(sum(e.amount_micros) FILTER (WHERE m.kind = 'wallet'), 0)::bigint,
    coalesce(sum(e.amount_micros) FILTER (WHERE m.kind IN ('escrow', 'payout')), 0)::bigint,
    coalesce(sum(e.amount_micros) FILTER (WHERE m.kind NOT IN ('wallet', 'escrow', 'payout')), 0)::bigint
FROM mine m JOIN ledger_entry e ON e.account_id = m.id AND e.id > m.behind AND e.id <= %(through)s
JOIN ledger_journal j ON j.id = e.journal_id AND j.at >= %(since)s AND j.at < %(until)s
GROUP BY 1, 2, 3
"""
# A charge of a micro is all fee: it has no entry of the seller's, so fees are found by what was sold.
FEES = """
SELECT j.code, j.subject, CASE WHEN %(by_day)s THEN (j.at AT TIME ZONE 'UTC')::date END AS day,
    count(DISTINCT j.id), min(j.at), max(j.at), sum(e.amount_micros)::bigint
FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account a ON a.id = e.account_id
WHERE j.subject = ANY(%(sold)s) AND j.code = ANY(%(charges)s) AND a.kind = 'platform_fee'
    AND a.currency = %(currency)s AND j.at >= %(since)s AND j.at < %(until)s
GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A firm's money in one currency: free to spend, held for something or on its way out, and earned."""

    free_micros: int = 0
    held_micros: int = 0
    earned_micros: int = 0

    @property
    def total_micros(self) -> int:
        return self.free_micros + self.held_micros + self.earned_micros

    def __add__(self, other: Held) -> Held:
        return Held(
            self.free_micros + other.free_micros,
            self.held_micros + other.held_micros,
            self.earned_micros + other.earned_micros,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """All journals of one code about one subject, of the whole period or of one day.

    `fee_micros` is what the platform took out of the charge when the firm was the seller; None when it was not. What
    was charged is then `moved.earned_micros + fee_micros`.
    """

    code: str
    subject: str
    day: date | None
    journals_count: int
    first_at: datetime
    last_at: datetime
    moved: Held
    fee_micros: int | None = None

    @property
    def gross_micros(self) -> int | None:
        """What the buyer was charged for what this firm sold."""
        return None if self.fee_micros is None else self.moved.earned_micros + self.fee_micros


def held_at(firm: Firm, currency: str, at: datetime) -> Held:
    """What the firm had just before `at`."""
    kinds = dict(Account.objects.filter(firm=firm, currency=currency).values_list("pk", "kind"))
    columns = {"wallet": 0, "escrow": 1, "payout": 1}
    sums = [0, 0, 0]
    for account, micros in balances_at(at, kinds).items():
        sums[columns.get(kinds[account], 2)] += micros
    return Held(*sums)


def folded(
    *, firm: Firm, currency: str, since: datetime, until: datetime, sold: Collection[str], by_day: bool = False
) -> list[Line]:
    """The period's lines, oldest first; `sold` are the subjects whose seller the firm is."""
    given: dict[str, Any] = {"firm": firm.pk, "currency": currency, "since": since, "until": until, "by_day": by_day}
    given |= {"through": last_entry_before(until), "sold": list(sold), "charges": [str(code) for code in CHARGES]}
    with connection.cursor() as cursor:
        cursor.execute(FOLDED, given)
        lines = {row[:3]: _line(row, Held(*row[6:])) for row in cursor.fetchall()}
        cursor.execute(FEES, given)
        for row in cursor.fetchall():
            line = lines.get(row[:3]) or _line(row, Held())
            lines[row[:3]] = replace(line, fee_micros=row[6])
    sellers = {(str(code), subject) for code in CHARGES for subject in sold}
    free = [replace(line, fee_micros=0) if _is_free(line, sellers) else line for line in lines.values()]
    return sorted(free, key=lambda line: (line.first_at, line.code, line.subject))


def _line(row: Sequence[Any], moved: Held) -> Line:
    code, subject, day, journals_count, first_at, last_at = row[:6]
    return Line(code, subject, day, journals_count, first_at, last_at, moved)


def _is_free(line: Line, sellers: set[tuple[str, str]]) -> bool:
    return line.fee_micros is None and (line.code, line.subject) in sellers


def entries_of(
    *, firm: Firm, currency: str, since: datetime, until: datetime, code: str, subject: str
) -> QuerySet[Entry]:
    """What a line was folded from."""
    return Entry.objects.filter(
        account__firm=firm,
        account__currency=currency,
        journal__code=code,
        journal__subject=subject,
        journal__at__gte=since,
        journal__at__lt=until,
    ).select_related("journal", "account")
