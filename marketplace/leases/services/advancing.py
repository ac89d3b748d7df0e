"""The tick of leases: every state with a clock moves on here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from marketplace.common.errors import DomainError
from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import end_lease, fail_lease, free_cards_of_stopped_leases
from marketplace.leases.services.starting import start_lease
from marketplace.leases.services.trouble import grace_ago, trouble_at_start, trouble_while_running, unusable
from marketplace.leases.states import NOT_YET_USABLE, EndReason, LeaseState
from nodes.models import Assignment, CardState
from nodes.states import NodeState, Seen

log = logging.getLogger(__name__)


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
    broken = CardState.objects.filter(unusable(now), card__lease_cards__lease=OuterRef("pk"))
    silent = Q(node__last_seen_at=None) | Q(node__last_seen_at__lte=grace_ago(now))
    return Lease.objects.filter(Q(ends_at__lte=now) | silent | Exists(exited) | Exists(broken), state=LeaseState.ACTIVE)


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
    trouble = trouble_at_start(holder=lease.public_id, node=lease.node, deadline_at=lease.deadline_at, now=now)
    if trouble:
        fail_lease(lease=lease, reason=trouble.reason, now=now, detail=trouble.detail)


def _check_active(lease: Lease, now: datetime) -> None:
    if lease.state != LeaseState.ACTIVE:
        return
    assert lease.ends_at
    if lease.ends_at <= now:
        end_lease(lease=lease, reason=EndReason.WINDOW_OVER, now=now)
        return
    cards = CardState.objects.filter(card__lease_cards__lease=lease)
    if trouble := trouble_while_running(holder=lease.public_id, node=lease.node, cards=cards, now=now):
        end_lease(lease=lease, reason=trouble.reason, now=now, detail=trouble.detail)
