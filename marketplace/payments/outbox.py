"""The outbox: calls to gateways as rows. The worker that makes them is `outbox_worker.py`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, NotAllowed, NotFound
from marketplace.events.services import record_event
from marketplace.events.transitions import WrongState, transition
from marketplace.payments.gateway import Operation
from marketplace.payments.models import GatewayCall
from marketplace.payments.states import CallState

KEY_KEPT = timedelta(hours=23)  # Stripe keeps keys for 24 hours: https://docs.stripe.com/api/idempotent_requests
CLAIMED_FOR = timedelta(seconds=120)  # longer than the timeout of a call
LATE_AFTER = timedelta(minutes=15)


def enqueue(
    *,
    gateway: str,
    operation: Operation,
    params: Mapping[str, Any],
    subject: str,
    firm: Firm | None,
    now: datetime,
    after: GatewayCall | None = None,
) -> GatewayCall:
    """Have a gateway do something once what is being written here is committed; never before `after` is done."""
    assert connection.in_atomic_block, "a call belongs to the transaction of what it is for"
    return GatewayCall.objects.create(
        firm=firm,
        gateway=gateway,
        operation=operation,
        subject=subject,
        params=dict(params),
        after=after,
        key=str(uuid.uuid4()),
        created_at=now,
        next_try_at=now,
    )


@transaction.atomic
def claim_call(now: datetime) -> GatewayCall | None:
    """A call that is due, taken for CLAIMED_FOR; None when there is none. A worker that dies loses it after that."""
    its_turn = Q(after=None) | Q(after__state=CallState.DONE) | Q(after__state=CallState.FAILED, is_given_up=True)
    due = GatewayCall.objects.filter(its_turn, state=CallState.WAITING)
    call = (
        due.filter(next_try_at__lte=now)
        .select_for_update(skip_locked=True, of=("self",))
        .order_by("next_try_at", "pk")
        .first()
    )
    if call is None:
        return None
    call.must_look = call.must_look or (call.first_tried_at is not None and now - call.first_tried_at >= KEY_KEPT)
    call.first_tried_at, call.last_tried_at = call.first_tried_at or now, now
    call.attempts += 1
    call.next_try_at = now + CLAIMED_FOR
    call.save(update_fields=["must_look", "first_tried_at", "last_tried_at", "attempts", "next_try_at"])
    return call


def call_for_update(pk: int) -> GatewayCall:
    """A call, locked until the end of the transaction."""
    return GatewayCall.objects.select_for_update(of=("self",)).get(pk=pk)


def stuck_calls(now: datetime) -> QuerySet[GatewayCall]:
    """What an operator should see: calls that ask for one, and calls that have waited for too long."""
    late = Q(state=CallState.WAITING, created_at__lte=now - LATE_AFTER)
    return GatewayCall.objects.filter(Q(state=CallState.ASKING) | late).select_related("firm").order_by("pk")


def any_call(public_id: str) -> GatewayCall:
    """One call: for operators."""
    call = GatewayCall.objects.filter(public_id=public_id).first()
    if call is None:
        raise NotFound
    return call


@transaction.atomic
def try_call_again(*, operator: User, call_id: str, now: datetime, give_up: bool = False) -> GatewayCall:
    """Have a stuck call looked up, and made again only where it was not done; or, given up, not made at all.

    An attempt that may still be on its way is waited for: what it does can't be found yet. Raises NotAllowed unless
    `operator` is one, NotFound, WrongState when it is settled, and Conflict for one that can only be given up.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
    call = call_for_update(any_call(call_id).pk)
    if call.after is not None and call.after.state == CallState.FAILED and not give_up:
        raise Conflict("what has to come before it was refused: it can only be given up", code="not_in_order")
    tried_at = call.last_tried_at if call.state == CallState.WAITING else None  # else it was answered
    if call.state == CallState.ASKING:
        transition(call, CallState.WAITING, now=now, actor=operator.public_id)
    if call.state != CallState.WAITING:
        raise WrongState(f"this call is {call.state}")
    call.must_look, call.is_given_up = True, give_up
    call.next_try_at = max(now, tried_at + CLAIMED_FOR) if tried_at else now
    call.save(update_fields=["must_look", "is_given_up", "next_try_at"])
    record_event(
        firm_id=None,
        type="gateway_call.given_up" if give_up else "gateway_call.tried_again",
        subject=call.public_id,
        actor=operator.public_id,
        data={"operation": call.operation, "for": call.subject},
        now=now,
    )
    return call
