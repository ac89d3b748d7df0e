"""Ending leases, for whatever reason, and giving the cards back when the node is done with them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update, lease_of
from marketplace.leases.services.escrow import may_reopen, release_unneeded_escrow
from marketplace.leases.states import LIVE, NOT_YET_USABLE, EndReason, LeaseState
from marketplace.orders.services.closing import forget_order_secrets, reopen_order
from nodes.models import Assignment
from nodes.services.assignments import forget_ports, revoke
from nodes.services.claims import shorten_claims
from nodes.states import Seen


@transaction.atomic
def end_by_buyer(*, firm: Firm, public_id: str, actor: str, now: datetime) -> Lease:
    """The buyer needs it no longer. Conflict before its shortest duration; a lease that is over stays as it is."""
    lease = lease_for_update(lease_of(firm, public_id).pk)
    if lease.buyer_id != firm.pk:
        raise Conflict("only the buyer can end this lease", code="not_the_buyer")
    if lease.state in NOT_YET_USABLE:
        fail_lease(lease=lease, reason=EndReason.BUYER_ENDED, now=now, actor=actor)
    elif lease.state == LeaseState.ACTIVE:
        assert lease.active_at
        earliest = lease.active_at + timedelta(seconds=lease.duration_seconds_min)
        if now < earliest:
            raise Conflict(f"it can be ended from {earliest:%Y-%m-%dT%H:%M:%SZ} on", code="shortest_duration")
        end_lease(lease=lease, reason=EndReason.BUYER_ENDED, now=now, actor=actor)
    return lease


@transaction.atomic
def end_lease(*, lease: Lease, reason: EndReason, now: datetime, actor: str = "system", detail: str = "") -> None:
    """Stop charging an ACTIVE lease and tell its node to stop. The settlement tick closes it."""
    assert lease.ends_at
    ended_at = min(now, lease.ends_at)
    transition(
        lease,
        LeaseState.ENDING,
        now=now,
        reason=reason,
        actor=actor,
        ended_at=ended_at,
        end_reason=reason,
        detail=detail,
        deadline_at=now + timedelta(seconds=settings.LEASE_TTL_SECONDS + settings.LEASE_GRACE_SECONDS),
    )
    revoke(holder=lease.public_id, now=now)


@transaction.atomic
def fail_lease(*, lease: Lease, reason: EndReason, now: datetime, actor: str = "system", detail: str = "") -> None:
    """End a locked lease that was never usable: nothing is charged.

    When it was the last of its order, and the buyer ended none and could use none, the order goes back into the book,
    without their nodes.
    """
    transition(
        lease,
        LeaseState.FAILED,
        now=now,
        reason=reason,
        actor=actor,
        end_reason=reason,
        detail=detail,
        ended_at=now,
        closed_at=now,
        deadline_at=None,
    )
    revoke(holder=lease.public_id, now=now)
    of_order = Lease.objects.filter(order=lease.order)
    if not of_order.filter(state__in=LIVE).exists() and may_reopen(of_order):
        nodes = of_order.values_list("node__public_id", flat=True)
        reopen_order(order=lease.order, without_nodes=nodes, now=now)
    else:
        release_unneeded_escrow(lease=lease, now=now)
        if not of_order.filter(state__in=NOT_YET_USABLE).exists():
            forget_order_secrets(order=lease.order)


@transaction.atomic
def close_lease(*, lease: Lease, now: datetime) -> None:
    """ENDING → ENDED once everything is settled; the rest of the escrow returns to the wallet."""
    transition(lease, LeaseState.ENDED, now=now, reason=lease.end_reason, closed_at=now, deadline_at=None)
    release_unneeded_escrow(lease=lease, now=now)


def free_cards_of_stopped_leases(*, now: datetime, limit: int = 500) -> int:
    """Give the cards back of leases whose node has stopped them and has its memory back, or can't run them any more.

    A node that never answers stops a lease by itself when its ttl lapses, so ttl + grace after the end it is gone.
    """
    stopped = Assignment.objects.filter(holder=OuterRef("public_id"), seen=Seen.EXITED, memory_at_baseline=True)
    over = Lease.objects.exclude(state__in=NOT_YET_USABLE | {LeaseState.ACTIVE}).filter(cards_freed_at=None)
    gone_before = now - timedelta(seconds=settings.LEASE_TTL_SECONDS + settings.LEASE_GRACE_SECONDS)
    never_assigned = ~Exists(Assignment.objects.filter(holder=OuterRef("public_id")))
    ready = over.filter(Exists(stopped) | Q(ended_at__lte=gone_before) | never_assigned)
    return sum(_free_cards(pk, now) for pk in ready.order_by("pk").values_list("pk", flat=True)[:limit])


@transaction.atomic
def _free_cards(lease_id: int, now: datetime) -> bool:
    lease = lease_for_update(lease_id)
    if lease.cards_freed_at is not None:
        return False
    shorten_claims(holder=lease.public_id, until=now)
    forget_ports(holder=lease.public_id)
    lease.cards_freed_at = now
    lease.save(update_fields=["cards_freed_at"])
    record_event(firm_id=lease.seller_id, type="lease.cards_freed", subject=lease.public_id, now=now)
    return True
