"""Calendar months in UTC, the periods of invoices. Pure: a period is [since, until)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime


def month_of(at: datetime) -> datetime:
    """The beginning of the month in which `at` lies."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(since: datetime) -> datetime:
    """The beginning of the month after the one that begins with `since`."""
    return since.replace(year=since.year + since.month // 12, month=since.month % 12 + 1)


def last_month(since: datetime) -> datetime:
    """The beginning of the month before."""
    return since.replace(year=since.year - (since.month == 1), month=(since.month - 2) % 12 + 1)


def months(first: datetime, until: datetime) -> Iterator[datetime]:
    """The beginnings of all whole months from the one of `first` on that are over at `until`."""
    since = month_of(first)
    while next_month(since) <= until:
        yield since
        since = next_month(since)
