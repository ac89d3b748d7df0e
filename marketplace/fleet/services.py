"""Keeping the hours of cards."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from marketplace.fleet.models import CardHour, RollupMark
from marketplace.fleet.rollup import HOUR, LATE, roll_up_hour
from nodes.models import Node

HOURS_PER_TICK = 12
SETTLING = timedelta(minutes=10)


def roll_up_hours(*, now: datetime, limit: int = HOURS_PER_TICK) -> int:
    """Roll up what is due: up to `limit` hours that no report can change any more, and the present one so far.

    After an outage the hours that were missed come first, as far back as there are reports. Doing it twice changes
    nothing, and two workers never do it at once. Returns how many hours were finished.
    """
    finished = 0
    while finished < limit and _finish_next_hour(now):
        finished += 1
    _roll_up_unfinished(now)
    return finished


def forget_old_hours(*, now: datetime) -> int:
    """Drop what is older than it is kept; returns how many rows."""
    count, _ = CardHour.objects.filter(hour_at__lt=now - timedelta(days=settings.CARD_HOUR_DAYS_KEPT)).delete()
    return count


@transaction.atomic
def _finish_next_hour(now: datetime) -> bool:
    mark = _locked_mark(now)
    if mark is None or mark.done_until_at + HOUR + LATE > now:
        return False
    roll_up_hour(mark.done_until_at)
    mark.done_until_at += HOUR
    mark.save(update_fields=["done_until_at"])
    return True


@transaction.atomic
def _roll_up_unfinished(now: datetime) -> None:
    """The present hour so far; the one before once more while its last minutes come in."""
    mark, present = _locked_mark(now), beginning_of_hour(now)
    if mark is None:
        return
    if now - present < SETTLING and mark.done_until_at < present:
        roll_up_hour(present - HOUR)
    roll_up_hour(present)


def _locked_mark(now: datetime) -> RollupMark | None:
    """The mark, locked; None while another worker has it or nothing was ever enrolled."""
    mark = RollupMark.objects.select_for_update(skip_locked=True).filter(pk=1).first()
    if mark or RollupMark.objects.filter(pk=1).exists():
        return mark
    enrolled = Node.objects.aggregate(first=Min("enrolled_at"))["first"]
    if enrolled is None:
        return None
    first = max(enrolled, now - timedelta(days=settings.REPORT_DAYS_KEPT))
    RollupMark.objects.get_or_create(pk=1, defaults={"done_until_at": beginning_of_hour(first)})
    return RollupMark.objects.select_for_update(skip_locked=True).filter(pk=1).first()


def beginning_of_hour(at: datetime) -> datetime:
    """The full hour at or before."""
    return at.replace(minute=0, second=0, microsecond=0)
