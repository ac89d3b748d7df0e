"""Closing what is over, so that nothing can be added to it. PostgreSQL keeps the lock; this is how it is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from marketplace.accounts.models import User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed, NotFound
from marketplace.events.services import record_event
from marketplace.ledger.models import PeriodLock, ReopenRequest

NOTHING_CLOSED = datetime(1, 1, 1, tzinfo=UTC)
SETTLES_WITHIN = timedelta(hours=1)  # ticks that began before the end of a period may still post for it


def lock_in_force() -> PeriodLock | None:
    """The newest lock."""
    return PeriodLock.objects.order_by("-pk").first()


def closed_until() -> datetime:
    """The end of what is closed; a time before everything when nothing ever was."""
    lock = lock_in_force()
    return lock.closed_until if lock else NOTHING_CLOSED


def open_from() -> datetime:
    """The same, and it stays so until the end of the transaction: a close waits for those who asked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT fallow_share_periods()")
    return closed_until()


@transaction.atomic
def close_until(*, operator: User, until: datetime, now: datetime, reason: str = "") -> PeriodLock:
    """Let no journal count for a time before `until` from now on.

    Raises NotAllowed unless `operator` is one, Invalid for a time that is not over for an hour yet, and Conflict when
    that much is closed already.
    """
    _require_operator(operator)
    if until > now - SETTLES_WITHIN:
        raise Invalid(
            "a period is closed an hour after its end at the earliest",
            code="period_not_over",
            errors=(FieldError("/until", "not_over", "it is not over yet"),),
        )
    _hold_periods()
    if until <= closed_until():
        raise Conflict("this is closed already", code="already_closed")
    lock = PeriodLock.objects.create(closed_until=until, operator=operator, at=now, reason=reason)
    _tell("period.closed", lock.public_id, operator, until, reason, now)
    return lock


@transaction.atomic
def ask_to_reopen(*, operator: User, until: datetime, reason: str, now: datetime) -> ReopenRequest:
    """Ask that only what lies before `until` stays closed; nothing changes until another operator agrees."""
    _require_operator(operator)
    if not reason.strip():
        raise Invalid(
            "say why", code="reason_missing", errors=(FieldError("/reason", "required", "say why it is reopened"),)
        )
    if until >= closed_until():
        raise Conflict("that is not closed", code="not_closed")
    request = ReopenRequest.objects.create(closed_until=until, operator=operator, reason=reason.strip(), at=now)
    _tell("period.reopen_asked", request.public_id, operator, until, reason, now)
    return request


@transaction.atomic
def reopen(*, operator: User, request_id: str, now: datetime) -> PeriodLock:
    """Do what another operator has asked for. Raises NotFound, NotAllowed for one's own request, and Conflict."""
    _require_operator(operator)
    request = ReopenRequest.objects.filter(public_id=request_id).first()
    if request is None:
        raise NotFound
    if request.operator_id == operator.pk:
        raise NotAllowed("another operator must agree: you asked for it yourself", code="second_person_needed")
    _hold_periods()
    if request not in waiting_requests():
        raise Conflict("the periods were changed since this was asked", code="request_is_stale")
    lock = PeriodLock.objects.create(
        closed_until=request.closed_until, operator=operator, request=request, at=now, reason=request.reason
    )
    _tell("period.reopened", lock.public_id, operator, request.closed_until, request.reason, now, asked=request)
    return lock


def waiting_requests() -> list[ReopenRequest]:
    """What was asked since the newest lock: a later change of the periods makes a request void."""
    lock = lock_in_force()
    if lock is None:
        return []
    asked = ReopenRequest.objects.filter(reopening=None, at__gte=lock.at, closed_until__lt=lock.closed_until)
    return list(asked.select_related("operator").order_by("pk"))


def _require_operator(operator: User) -> None:
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator closes and reopens periods", code="operators_only")


def _hold_periods() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT fallow_hold_periods()")


def _tell(
    type: str,
    subject: str,
    operator: User,
    until: datetime,
    reason: str,
    now: datetime,
    asked: ReopenRequest | None = None,
) -> None:
    data = {"closed_until": until.isoformat(), "why": reason}
    if asked:
        data |= {"request": asked.public_id, "asked_by": asked.operator.public_id}
    record_event(firm_id=None, type=type, subject=subject, actor=operator.public_id, data=data, now=now)
