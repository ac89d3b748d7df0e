"""A closed period stays as it is: PostgreSQL refuses what would count for it, and two people reopen it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.utils import IntegrityError

from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Code, Journal, PeriodLock
from marketplace.ledger.periods import ask_to_reopen, close_until, closed_until, open_from, reopen, waiting_requests
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.ledger.snapshots import LAST, last_entry_before
from tests.factories import fund, make_firm, make_person

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 3, tzinfo=UTC)


def pay(ref, at, happened_at=None):
    """A micro from outside to a firm."""
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="test")
    suspense = account_for(firm=None, kind=AccountKind.SUSPENSE, currency="USD")
    return post(
        ref=ref, code=Code.CORRECTION, legs=[Leg(outside, -1), Leg(suspense, 1)], now=at, happened_at=happened_at
    )


@pytest.fixture
def operators():
    return make_person(is_operator=True), make_person(is_operator=True)


@pytest.mark.django_db
def test_nothing_is_booked_into_a_closed_period(operators):
    assert pay("before", NOVEMBER - timedelta(seconds=1))
    close_until(operator=operators[0], until=NOVEMBER, now=LATER)
    with pytest.raises(IntegrityError, match="closed until"), transaction.atomic():
        pay("late", NOVEMBER - timedelta(microseconds=1))
    assert pay("first of the next", NOVEMBER)
    assert set(Journal.objects.values_list("ref", flat=True)) == {"before", "first of the next"}


@pytest.mark.django_db
def test_what_comes_late_is_booked_where_it_is_open_and_says_when_it_happened(operators):
    pay("in time", LATER, happened_at=NOVEMBER - timedelta(hours=3))
    close_until(operator=operators[0], until=NOVEMBER, now=LATER)
    pay("late", LATER, happened_at=NOVEMBER - timedelta(hours=3))
    in_time, late = Journal.objects.order_by("pk")
    assert (in_time.at, in_time.data) == (NOVEMBER - timedelta(hours=3), {})
    assert (late.at, late.data) == (LATER, {"happened_at": "2026-10-31T21:00:00+00:00"})


@pytest.mark.django_db
def test_a_period_is_closed_forwards_by_an_operator_and_once_it_is_over(operators):
    with pytest.raises(NotAllowed):
        close_until(operator=make_person(), until=OCTOBER, now=LATER)
    with pytest.raises(Invalid):
        close_until(operator=operators[0], until=NOVEMBER, now=NOVEMBER + timedelta(minutes=59))
    close_until(operator=operators[0], until=NOVEMBER, now=LATER)
    for until in (OCTOBER, NOVEMBER):
        with pytest.raises(Conflict):
            close_until(operator=operators[1], until=until, now=LATER)
    assert closed_until() == NOVEMBER


@pytest.mark.django_db(transaction=True)
def test_two_operators_reopen_and_the_audit_log_says_who(operators):
    first, second = operators
    close_until(operator=first, until=NOVEMBER, now=LATER)
    request = ask_to_reopen(operator=first, until=OCTOBER, reason="a wire was missed", now=LATER)
    with pytest.raises(NotAllowed):
        reopen(operator=first, request_id=request.public_id, now=LATER)
    assert closed_until() == NOVEMBER
    reopen(operator=second, request_id=request.public_id, now=LATER)
    assert closed_until() == OCTOBER
    assert pay("in october", OCTOBER)
    told = list(Event.objects.filter(type__startswith="period").order_by("pk").values_list("type", "actor"))
    assert told == [
        ("period.closed", first.public_id),
        ("period.reopen_asked", first.public_id),
        ("period.reopened", second.public_id),
    ]
    assert Event.objects.get(type="period.reopened").data["asked_by"] == first.public_id
    with pytest.raises(Conflict):
        reopen(operator=second, request_id=request.public_id, now=LATER)


@pytest.mark.django_db(transaction=True)
def test_a_request_is_void_once_the_periods_were_changed(operators):
    first, second = operators
    close_until(operator=first, until=OCTOBER, now=LATER)
    request = ask_to_reopen(operator=first, until=OCTOBER - timedelta(days=30), reason="x", now=LATER)
    close_until(operator=first, until=NOVEMBER, now=LATER + timedelta(seconds=1))
    assert waiting_requests() == []
    with pytest.raises(Conflict):
        reopen(operator=second, request_id=request.public_id, now=LATER + timedelta(seconds=2))


@pytest.mark.django_db(transaction=True)
def test_a_close_waits_for_whoever_is_posting(operators):
    """Neither may miss the other: what was on its way is in before the close, what begins after it sees it."""
    firm = make_firm()
    began, go = threading.Event(), threading.Event()
    order: list[str] = []

    def post_slowly():
        with transaction.atomic():
            pay("on its way", NOVEMBER - timedelta(seconds=1))
            began.set()
            go.wait(20)
            order.append("posted")
        connections.close_all()

    def close():
        close_until(operator=operators[0], until=NOVEMBER, now=LATER)
        order.append("closed")
        connections.close_all()

    poster, closer = threading.Thread(target=post_slowly), threading.Thread(target=close)
    poster.start()
    assert began.wait(20)
    closer.start()
    while not waiting_for_a_lock():
        pass
    go.set()
    poster.join()
    closer.join()
    assert order == ["posted", "closed"]
    assert PeriodLock.objects.get().through_entry == Journal.objects.get().entries.order_by("-pk")[0].pk
    with pytest.raises(IntegrityError):
        pay("too late", NOVEMBER - timedelta(seconds=1))
    assert firm


def waiting_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_the_close_says_where_reading_may_stop_until_it_is_undone(operators):
    first, second = operators
    fund(make_firm(), 5)
    assert last_entry_before(NOVEMBER) == LAST
    lock = close_until(operator=first, until=NOVEMBER, now=LATER)
    lock.refresh_from_db()
    assert last_entry_before(NOVEMBER) == last_entry_before(OCTOBER) == lock.through_entry > 0
    assert last_entry_before(LATER) == LAST
    request = ask_to_reopen(operator=first, until=OCTOBER, reason="x", now=LATER)
    reopen(operator=second, request_id=request.public_id, now=LATER)
    assert last_entry_before(NOVEMBER) == LAST
    assert last_entry_before(OCTOBER) == lock.through_entry
    fund(make_firm(), 5)
    close_until(operator=first, until=NOVEMBER, now=LATER)
    assert last_entry_before(NOVEMBER) > lock.through_entry
    assert open_from() == NOVEMBER
