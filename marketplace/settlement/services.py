"""Charging what was proved, and closing leases when everything is settled."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import close_lease, end_lease
from marketplace.leases.states import EndReason, LeaseState
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.settlement.pricing import Posting, next_posting
from marketplace.settlement.selectors import epoch_ms, from_epoch_ms, gap_max_ms, report_points
from marketplace.settlement.usage import Usage, Window, usage_after
from nodes.services.assignments import stopped_at

log = logging.getLogger(__name__)
CHARGED = (LeaseState.ACTIVE, LeaseState.ENDING)


def settle_leases(*, now: datetime, limit: int = 500) -> int:
    """Settle what is ending, and each running lease about once a minute; returns how many."""
    last = now - timedelta(seconds=settings.SETTLE_SECONDS)
    due = Lease.objects.filter(
        Q(state=LeaseState.ENDING)
        | Q(state=LeaseState.ACTIVE, settled_at=None, active_at__lte=last)
        | Q(state=LeaseState.ACTIVE, settled_at__lte=last)
    )
    waited_longest = due.order_by(F("settled_at").asc(nulls_first=True), "pk")
    keys = list(waited_longest.values_list("pk", flat=True)[:limit])
    for pk in keys:
        try:
            settle_lease(lease_id=pk, now=now)
        except Exception:  # one lease that can't be settled must not keep the others from their money
            log.exception("lease %s can't be settled now", pk)
            Lease.objects.filter(pk=pk).update(settled_at=now)
    return len(keys)


@transaction.atomic
def settle_lease(*, lease_id: int, now: datetime) -> None:
    """Post what has become due, end a lease whose escrow is used up, close one that is over and fully proved."""
    lease = lease_for_update(lease_id)
    if lease.state not in CHARGED:
        return
    _meter(lease, now)
    _post(lease, now)
    lease.settled_at = now
    lease.save(
        update_fields=[
            "gpu_ms", "frozen_gpu_ms", "frozen_through_at", "proven_until_at",
            "settled_micros", "seller_micros", "settled_at",
        ]
    )  # fmt: skip
    if lease.state == LeaseState.ENDING and _is_complete(lease, now):
        close_lease(lease=lease, now=now)
    elif lease.state == LeaseState.ACTIVE and lease.settled_micros >= lease.escrow_micros:
        end_lease(lease=lease, reason=EndReason.FUNDS_EXHAUSTED, now=now)


def _meter(lease: Lease, now: datetime) -> None:
    assert lease.active_at and lease.ends_at
    end = lease.ended_at or lease.ends_at
    before = Usage(
        gpu_ms=lease.gpu_ms,
        proven_until_ms=epoch_ms(lease.proven_until_at) if lease.proven_until_at else None,
        frozen_gpu_ms=lease.frozen_gpu_ms,
        frozen_through_ms=epoch_ms(lease.frozen_through_at) if lease.frozen_through_at else None,
    )
    # A span that crosses the frozen boundary needs the report before it.
    margin = timedelta(milliseconds=gap_max_ms())
    points = report_points(lease, since=(lease.frozen_through_at or lease.active_at) - margin, until=end + margin)
    usage = usage_after(
        before=before,
        points=points,
        window=Window(start_ms=epoch_ms(lease.active_at), end_ms=epoch_ms(end), gap_max_ms=gap_max_ms()),
        freeze_before_ms=epoch_ms(now - timedelta(seconds=settings.LEASE_GRACE_SECONDS)),
    )
    lease.gpu_ms = usage.gpu_ms
    lease.frozen_gpu_ms = usage.frozen_gpu_ms
    if usage.frozen_through_ms is not None:
        lease.frozen_through_at = from_epoch_ms(usage.frozen_through_ms)
    if usage.proven_until_ms is not None:
        lease.proven_until_at = from_epoch_ms(usage.proven_until_ms)


def _post(lease: Lease, now: datetime) -> None:
    posting = next_posting(
        price_micros_per_gpu_hour=lease.price_micros_per_gpu_hour,
        gpu_ms=lease.gpu_ms,
        escrow_micros=lease.escrow_micros,
        settled_micros=lease.settled_micros,
        seller_micros=lease.seller_micros,
        fee_basis_points=lease.fee_basis_points,
    )
    if posting.total_micros == 0:
        return
    lease.settled_micros += posting.total_micros
    lease.seller_micros += posting.seller_micros
    post(
        ref=f"settle:{lease.public_id}:{lease.settled_micros}",
        code=Code.SETTLEMENT,
        legs=_legs(lease, posting),
        subject=lease.public_id,
        data={"gpu_ms": lease.gpu_ms, "price_micros_per_gpu_hour": lease.price_micros_per_gpu_hour},
        now=now,
    )


def _legs(lease: Lease, posting: Posting) -> list[Leg]:
    currency, order = lease.currency, lease.order.public_id
    escrow = account_for(firm=lease.buyer, kind=AccountKind.ESCROW, currency=currency, ref=order)
    earnings = account_for(firm=lease.seller, kind=AccountKind.EARNINGS, currency=currency)
    fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency=currency)
    return [
        Leg(escrow, -posting.total_micros),
        Leg(earnings, posting.seller_micros),
        Leg(fee, posting.fee_micros),
    ]


def _is_complete(lease: Lease, now: datetime) -> bool:
    """Whether no report that could still come would change the charge."""
    assert lease.ended_at
    stopped = stopped_at(lease.public_id)
    if now >= lease.ended_at + timedelta(seconds=settings.LEASE_GRACE_SECONDS):
        return stopped is not None or _is_past_fence(lease, now)
    slack = timedelta(seconds=2 * settings.HEARTBEAT_SECONDS)
    end = min(stopped, lease.ended_at) if stopped else lease.ended_at
    return stopped is not None and lease.proven_until_at is not None and lease.proven_until_at >= end - slack


def _is_past_fence(lease: Lease, now: datetime) -> bool:
    assert lease.ended_at
    return now >= lease.ended_at + timedelta(seconds=settings.LEASE_TTL_SECONDS + settings.LEASE_GRACE_SECONDS)
