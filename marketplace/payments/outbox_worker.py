"""Making the calls of the outbox: no transaction is open during a call, and its result is settled in one."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection, transaction

from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.payments.effects import EFFECTS
from marketplace.payments.gateway import GatewayError, Operation, Order, Receipt, Trouble
from marketplace.payments.models import GatewayCall
from marketplace.payments.outbox import call_for_update, claim_call
from marketplace.payments.selectors import gateway_named
from marketplace.payments.states import CallState

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 900.0
LATER_WAIT_S = 600.0  # for what was refused for now
LATER_TRIES_MAX = 200  # a day and more; then a person looks
WORK_SECONDS = 30  # of one tick, well below Celery's limit

logger = logging.getLogger(__name__)


class Absent(Exception):
    """Looked for, and it was never done."""


def work(clock: Callable[[], datetime]) -> int:
    """Make what is due, for WORK_SECONDS at most; returns how many calls were made."""
    begun, made = clock(), 0
    while clock() - begun < timedelta(seconds=WORK_SECONDS) and work_one(now=clock()):
        made += 1
    return made


def work_one(*, now: datetime) -> bool:
    """Make one call that is due and settle it; False when there is none. Call it outside of any transaction."""
    assert not connection.in_atomic_block, "nothing network inside a transaction"
    call = claim_call(now)
    if call is None:
        return False
    outcome = _attempt(call)
    try:
        _settle(call, outcome, now)
    except Exception as broken:
        # Done outside and not booked here: the row must not be tried in a circle, and nobody else's may wait for it.
        logger.exception("settling %s failed", call.public_id)
        _settle(call, GatewayError(Trouble.ASK, f"its result can't be booked: {broken!r}", code="not_booked"), now)
    return True


def _attempt(call: GatewayCall) -> Receipt | GatewayError | Absent:
    order = Order(call.public_id, Operation(call.operation), call.params, call.key, call.first_tried_at)
    try:
        gateway = gateway_named(call.gateway)
        if not call.must_look:
            return gateway.perform(order)
        found = gateway.find(order)
    except GatewayError as trouble:
        return trouble
    except Exception as broken:
        logger.exception("making %s failed", call.public_id)
        return GatewayError(Trouble.ASK, f"this can't be asked for: {broken!r}", code="not_asked")
    if found is not None:
        return found
    if call.is_given_up:
        return GatewayError(Trouble.FINAL, "it was not done, and an operator gave it up", code="given_up")
    return Absent()


@transaction.atomic
def _settle(call: GatewayCall, outcome: Receipt | GatewayError | Absent, now: datetime) -> None:
    """Book the result, unless another worker was first. Only a success counts when the row was taken anew meanwhile."""
    row = call_for_update(call.pk)
    if row.state != CallState.WAITING:
        return
    if isinstance(outcome, Receipt):
        transition(row, CallState.DONE, now=now, object_id=outcome.object_id, settled_at=now, error="", error_code="")
        EFFECTS[Operation(row.operation)].done(row, outcome, now)
    elif row.attempts != call.attempts:
        return
    elif isinstance(outcome, Absent):
        _with_new_key(row, now)
    else:
        _not_done(row, outcome, now)


def _not_done(row: GatewayCall, trouble: GatewayError, now: datetime) -> None:
    row.error, row.error_code = trouble.detail[:500], trouble.code[:64]
    row.save(update_fields=["error", "error_code"])
    kind = trouble.trouble
    if kind is Trouble.FINAL:
        transition(row, CallState.FAILED, now=now, reason=row.error_code, settled_at=now)
        EFFECTS[Operation(row.operation)].failed(row, trouble, now)
        for follower in row.followers.filter(state=CallState.WAITING).select_for_update():
            _ask(follower, "what has to come before it was refused", "not_in_order", now)
    elif kind is Trouble.ASK or (kind is Trouble.LATER and row.attempts >= LATER_TRIES_MAX):
        _ask(row, row.error, row.error_code, now)
    elif kind is Trouble.LATER:
        _with_new_key(row, now + timedelta(seconds=_jittered(LATER_WAIT_S)))
    else:
        row.must_look = row.must_look or kind is Trouble.LOOK
        row.next_try_at = now + timedelta(seconds=wait_seconds(row.attempts))
        row.save(update_fields=["must_look", "next_try_at"])


def _ask(row: GatewayCall, error: str, code: str, now: datetime) -> None:
    transition(row, CallState.ASKING, now=now, error=error, error_code=code)
    data = {"operation": row.operation, "for": row.subject, "error": error}
    record_event(firm_id=None, type="gateway_call.asking", subject=row.public_id, reason=code, data=data, now=now)


def _with_new_key(row: GatewayCall, next_try_at: datetime) -> None:
    """Nothing was done under the old key, and its answer is stuck to it."""
    row.key, row.first_tried_at, row.must_look, row.next_try_at = str(uuid.uuid4()), None, False, next_try_at
    row.save(update_fields=["key", "first_tried_at", "must_look", "next_try_at"])


def wait_seconds(attempts: int) -> float:
    """How long to wait after that many attempts: twice as long each time, up to LONGEST_WAIT_S, half by chance."""
    return _jittered(min(FIRST_WAIT_S * 2.0 ** min(attempts - 1, 16), LONGEST_WAIT_S))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come at once
