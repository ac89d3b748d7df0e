"""The tick of leases: every state with a clock moves on here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from marketplace.common.errors import DomainError
from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import end_lease, fail_lease, free_cards_of_stopped_leases
from marketplace.leases.services.starting import start_lease
from marketplace.leases.states import NOT_YET_USABLE, EndReason, LeaseState
from nodes.agent.protocol import BUYER_FAILURES, FailureReason
from nodes.models import Assignment, CardState
from nodes.selectors import last_sign_of_life
from nodes.states import Availability, NodeState, Seen

log = logging.getLogger(__name__)
REASONS = {
    FailureReason.OWNER_STOPPED: EndReason.OWNER_RECLAIMED,
    FailureReason.LEASE_TTL_LAPSED: EndReason.NODE_LOST,
} | dict.fromkeys(BUYER_FAILURES, EndReason.WORKLOAD_FAILED)


def advance_leases(*, now: datetime, limit: int = 500) -> None:
    """Start what is reserved, end what is over, free what has stopped. Nothing here waits for the network."""
    start_reserved_leases(now=now, limit=limit)
    _each(_starting_with_news(now), _check_starting, now)
    _each(_active_with_news(now), _check_active, now)
    free_cards_of_stopped_leases(now=now, limit=limit)


def start_reserved_leases(*, now: datetime, limit: int = 500) -> None:
    """Tell the nodes about new leases; the matcher calls this after a round, so that nobody waits for a tick."""
    for pk in Lease.objects.filter(state=LeaseState.RESERVED).order_by("pk").values_list("pk", flat=True)[:limit]:
        try:
            start_lease(lease_id=pk, now=now)
        except DomainError as error:
            log.warning("lease %s can't start yet: %s", pk, error)
    _each(Lease.objects.filter(state=LeaseState.RESERVED, deadline_at__lte=now), _check_starting, now)


def _starting_with_news(now: datetime) -> QuerySet[Lease]:
    news = Assignment.objects.filter(~Q(reason="") | Q(seen=Seen.EXITED), holder=OuterRef("public_id"))
    return Lease.objects.filter(
        Q(deadline_at__lte=now) | Q(node__state=NodeState.LOST) | Exists(news), state=LeaseState.STARTING
    )


def _active_with_news(now: datetime) -> QuerySet[Lease]:
    """Not every running lease: a tick must cost what happened, and a limit on all of them would forget the youngest."""
    exited = Assignment.objects.filter(holder=OuterRef("public_id"), seen=Seen.EXITED)
    unusable = _unusable_cards(now).filter(card__lease_cards__lease=OuterRef("pk"))
    silent = Q(node__last_seen_at=None) | Q(node__last_seen_at__lte=_grace_ago(now))
    return Lease.objects.filter(
        Q(ends_at__lte=now) | silent | Exists(exited) | Exists(unusable), state=LeaseState.ACTIVE
    )


def _unusable_cards(now: datetime) -> QuerySet[CardState]:
    """Unhealthy past grace, or gone from a node that goes on reporting: a silent node's cards are lost with it."""
    gone = Q(
        availability=Availability.LOST, card__node__last_seen_at__gt=now - timedelta(seconds=settings.LOST_SECONDS)
    )
    return CardState.objects.filter(Q(availability=Availability.UNHEALTHY) | gone, since_at__lte=_grace_ago(now))


def _each(leases: QuerySet[Lease], check: Callable[[Lease, datetime], None], now: datetime) -> None:
    for pk in leases.order_by("pk").values_list("pk", flat=True):
        try:
            with transaction.atomic():
                check(lease_for_update(pk), now)
        except Exception:  # one lease that can't move on must not keep the others from theirs
            log.exception("lease %s can't be advanced now", pk)


def _check_starting(lease: Lease, now: datetime) -> None:
    if lease.state not in NOT_YET_USABLE:
        return
    assignment = Assignment.objects.filter(holder=lease.public_id).first()
    if assignment and (assignment.seen == Seen.EXITED or assignment.reason):
        reason = REASONS.get(FailureReason(assignment.reason or FailureReason.INTERNAL), EndReason.START_FAILED)
        detail = assignment.detail or assignment.reason
        fail_lease(lease=lease, reason=reason, now=now, detail=detail)
    elif lease.deadline_at and lease.deadline_at <= now:
        fail_lease(lease=lease, reason=EndReason.START_TIMED_OUT, now=now)
    elif lease.node.state == NodeState.LOST:
        fail_lease(lease=lease, reason=EndReason.NODE_LOST, now=now)


def _check_active(lease: Lease, now: datetime) -> None:
    if lease.state != LeaseState.ACTIVE:
        return
    assert lease.ends_at
    if lease.ends_at <= now:
        end_lease(lease=lease, reason=EndReason.WINDOW_OVER, now=now)
        return
    assignment = Assignment.objects.get(holder=lease.public_id)
    if assignment.seen == Seen.EXITED:
        reason = REASONS.get(FailureReason(assignment.reason or FailureReason.WORKLOAD_EXITED), EndReason.HOST_FAILED)
        end_lease(lease=lease, reason=reason, now=now, detail=assignment.detail or assignment.reason)
    elif _is_silent_past_grace(lease, now):
        end_lease(lease=lease, reason=EndReason.NODE_LOST, now=now)
    elif _has_unusable_card(lease, now):
        end_lease(lease=lease, reason=EndReason.CARD_UNHEALTHY, now=now)


def _is_silent_past_grace(lease: Lease, now: datetime) -> bool:
    """In whatever state the node is. Our own outage ends no lease."""
    return last_sign_of_life(lease.node, now=now) <= _grace_ago(now)


def _has_unusable_card(lease: Lease, now: datetime) -> bool:
    return _unusable_cards(now).filter(card__lease_cards__lease=lease).exists()


def _grace_ago(now: datetime) -> datetime:
    return now - timedelta(seconds=settings.LEASE_GRACE_SECONDS)
