"""A firm's statement of a period: what it had, what moved, what it has. Amounts are micros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from marketplace.accounts.models import Firm
from marketplace.books.months import last_month, month_of, next_month
from marketplace.books.selectors import deals, sold_by
from marketplace.common.errors import FieldError, Invalid
from marketplace.ledger.folding import Held, Line, folded, held_at
from marketplace.ledger.models import Account, Code

LABELS = dict(Code.choices)
PERIOD_MAX = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Period:
    """[since, until) in UTC."""

    since: datetime
    until: datetime

    @property
    def last_day(self) -> date:
        """The last day that belongs to it, as people write periods."""
        return date.fromordinal(self.until.date().toordinal() - 1)


@dataclass(frozen=True, slots=True)
class Total:
    """What all lines of one code come to; the fee is None where none was taken."""

    code: str
    moved: Held
    fee_micros: int | None

    @property
    def label(self) -> str:
        return LABELS.get(self.code, self.code)


@dataclass(frozen=True, slots=True)
class Statement:
    """`opening` and all that `lines` moved come to `closing`; `about` says in words what a line's subject is."""

    firm: Firm
    currency: str
    period: Period
    opening: Held
    lines: Sequence[Line]
    closing: Held
    about: dict[str, str]

    @property
    def totals(self) -> list[Total]:
        """The lines added up per code, in the order of their first."""
        found: dict[str, Total] = {}
        for line in self.lines:
            before = found.get(line.code) or Total(line.code, Held(), None)
            fee = None if line.fee_micros is None else (before.fee_micros or 0) + line.fee_micros
            found[line.code] = Total(line.code, before.moved + line.moved, before.fee_micros if fee is None else fee)
        return list(found.values())

    @property
    def fees_micros(self) -> int:
        """What the platform took out of what this firm sold."""
        return sum(line.fee_micros or 0 for line in self.lines)

    @property
    def sold_micros(self) -> int:
        """What buyers were charged for it; less the fees it is what was earned by sales."""
        return sum(line.gross_micros or 0 for line in self.lines)


def statement_of(*, firm: Firm, currency: str, period: Period, by_day: bool = False) -> Statement:
    """The statement; by lease and sale over the whole period, or per day of it."""
    sold = sold_by(firm, period.since, period.until)
    lines = folded(
        firm=firm, currency=currency, since=period.since, until=period.until, sold=sold, by_day=by_day
    )  # fmt: skip
    opening = held_at(firm, currency, period.since)
    closing = sum((line.moved for line in lines), opening)
    about = {each.subject: each.what for each in deals({line.subject for line in lines}).values()}
    return Statement(firm, currency, period, opening, lines, closing, about)


def period_of(since: date | None, until: date | None, now: datetime) -> Period:
    """The days [since, until); the month so far when none is given, and a whole month for its first day alone.

    Raises Invalid when it is empty, longer than a year, or one that a calendar does not have.
    """
    if since is None and until is None:
        return Period(month_of(now), next_month(month_of(now)))
    if since is None and until is not None:
        end = _midnight(until)
        return Period(month_of(end) if end != month_of(end) else last_month(end), end)
    assert since is not None
    start = _midnight(since)
    period = Period(start, _midnight(until) if until else next_month(month_of(start)))
    if period.since >= period.until:
        raise Invalid(
            "the period is empty",
            code="empty_period",
            errors=(FieldError("?until", "empty", "it ends after it begins"),),
        )
    if period.until - period.since > PERIOD_MAX:
        raise Invalid(
            f"a period has at most {PERIOD_MAX.days} days",
            code="period_too_long",
            errors=(FieldError("?until", "range", f"at most {PERIOD_MAX.days} days after it begins"),),
        )
    return period


def currencies_of(firm: Firm, usual: Sequence[str]) -> list[str]:
    """Those the firm has used, or the first usual one."""
    return sorted(set(Account.objects.filter(firm=firm).values_list("currency", flat=True))) or list(usual[:1])


def _midnight(day: date) -> datetime:
    if not 2000 <= day.year <= 9990:
        raise Invalid("a period lies between the years 2000 and 9990", code="empty_period")
    return datetime.combine(day, time(), UTC)
