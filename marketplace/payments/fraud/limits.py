"""How much a firm may pay in by card while none of its card money is seasoned. Pure; amounts are micros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest deposit, the sums of a day and of seven, and how many there may be in a day."""

    largest_micros: int
    day_micros: int
    week_micros: int
    per_day: int


@dataclass(frozen=True, slots=True)
class Paid:
    """A deposit of before: paid, or waiting on an open page."""

    at: datetime
    micros: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit stands against it, what would be allowed now, and when this amount will be; None: not while new."""

    code: str
    allowed_micros: int
    free_at: datetime | None


def refusal(micros: int, *, past: Sequence[Paid], limits: Limits, now: datetime) -> Refusal | None:
    """Whether another deposit of `micros` is too much; a deposit counts until exactly a day or a week after it."""
    allowed = min(limits.largest_micros, _left(past, limits.day_micros, DAY, now),
                  _left(past, limits.week_micros, WEEK, now))  # fmt: skip
    broken = {
        "card_amount_limit": None if micros > limits.largest_micros else now,
        "card_count_limit": _when_few(past, limits.per_day, now),
        "card_day_limit": _when_fits(micros, past, limits.day_micros, DAY, now),
        "card_week_limit": _when_fits(micros, past, limits.week_micros, WEEK, now),
    }
    if broken["card_count_limit"] != now:
        allowed = 0
    stand = {code: at for code, at in broken.items() if at != now}
    if not stand:
        return None
    times = [at for at in stand.values() if at is not None]
    return Refusal(next(iter(stand)), max(0, allowed), max(times) if len(times) == len(stand) else None)


def when_fewer_cards(last_used: Sequence[datetime], most: int, now: datetime) -> datetime:
    """When fewer than `most` cards were used within a week; `now` when they are. None may be used if `most` is 0."""
    recent = sorted(at for at in last_used if at > now - WEEK)
    return now if len(recent) < most else recent[len(recent) - most] + WEEK if most else now + WEEK


def _left(past: Sequence[Paid], most: int, span: timedelta, now: datetime) -> int:
    return most - sum(each.micros for each in past if each.at > now - span)


def _when_few(past: Sequence[Paid], most: int, now: datetime) -> datetime | None:
    recent = sorted(each.at for each in past if each.at > now - DAY)
    if len(recent) < most:
        return now
    return recent[len(recent) - most] + DAY if most else None


def _when_fits(micros: int, past: Sequence[Paid], most: int, span: timedelta, now: datetime) -> datetime | None:
    if micros > most:
        return None
    recent = sorted((each for each in past if each.at > now - span), key=lambda each: each.at)
    total, at = sum(each.micros for each in recent), now
    for each in recent:
        if total + micros <= most:
            break
        total, at = total - each.micros, each.at + span
    return at
