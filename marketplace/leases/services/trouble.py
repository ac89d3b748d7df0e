"""What ends a lease though its time is not over: what the node says of it, and what it no longer says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from marketplace.leases.states import EndReason
from nodes.agent.protocol import BUYER_FAILURES, FailureReason
from nodes.models import Assignment, CardState, Node
from nodes.selectors import last_sign_of_life
from nodes.states import Availability, NodeState, Seen

REASONS = {
    FailureReason.OWNER_STOPPED: EndReason.OWNER_RECLAIMED,
    FailureReason.LEASE_TTL_LAPSED: EndReason.NODE_LOST,
} | dict.fromkeys(BUYER_FAILURES, EndReason.WORKLOAD_FAILED)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a lease must end; `failure` is the node's own word for it, where it said one."""

    reason: EndReason
    detail: str = ""
    failure: str = ""


def trouble_at_start(*, holder: str, node: Node, deadline_at: datetime | None, now: datetime) -> Trouble | None:
    """Why a lease that is not usable yet never will be; None while it may be."""
    assignment = Assignment.objects.filter(holder=holder).first()
    if assignment and (assignment.seen == Seen.EXITED or assignment.reason):
        return _said(assignment, FailureReason.INTERNAL, EndReason.START_FAILED)
    if deadline_at and deadline_at <= now:
        return Trouble(EndReason.START_TIMED_OUT)
    return Trouble(EndReason.NODE_LOST) if node.state == NodeState.LOST else None


def trouble_while_running(*, holder: str, node: Node, cards: QuerySet[CardState], now: datetime) -> Trouble | None:
    """Why a lease on these cards can't go on; None while it can."""
    assignment = Assignment.objects.get(holder=holder)
    if assignment.seen == Seen.EXITED:
        return _said(assignment, FailureReason.WORKLOAD_EXITED, EndReason.HOST_FAILED)
    if last_sign_of_life(node, now=now) <= grace_ago(now):  # in whatever state it is; our own outage ends no lease
        return Trouble(EndReason.NODE_LOST)
    return Trouble(EndReason.CARD_UNHEALTHY) if cards.filter(unusable(now)).exists() else None


def unusable(now: datetime) -> Q:
    """Card states: unhealthy past grace, or gone from a node that goes on reporting (a silent one's are lost too)."""
    heard_since = now - timedelta(seconds=settings.LOST_SECONDS)
    gone = Q(availability=Availability.LOST, card__node__last_seen_at__gt=heard_since)
    return (Q(availability=Availability.UNHEALTHY) | gone) & Q(since_at__lte=grace_ago(now))


def grace_ago(now: datetime) -> datetime:
    """Who was not heard since then is past grace."""
    return now - timedelta(seconds=settings.LEASE_GRACE_SECONDS)


def _said(assignment: Assignment, unsaid: FailureReason, other: EndReason) -> Trouble:
    reason = REASONS.get(FailureReason(assignment.reason or unsaid), other)
    return Trouble(reason, assignment.detail or assignment.reason, assignment.reason)
