"""Leases of a buyer who took the payment back from us at the bank."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import end_lease, fail_lease
from marketplace.leases.states import NOT_YET_USABLE, EndReason, LeaseState
from marketplace.payments.selectors import disputed_before


def end_disputed_leases(*, now: datetime) -> int:
    """End what a disputed payment pays for; returns how many.

    Those are the payer's leases from before the dispute, and all of them while it owes a part of it.
    """
    ended = 0
    for payer, before in disputed_before(now).items():
        leases = Lease.objects.filter(
            buyer=payer, reserved_at__lte=before, state__in=NOT_YET_USABLE | {LeaseState.ACTIVE}
        )
        ended += sum(_end(pk, now) for pk in leases.order_by("pk").values_list("pk", flat=True))
    return ended


@transaction.atomic
def _end(pk: int, now: datetime) -> bool:
    lease = lease_for_update(pk)
    if lease.state in NOT_YET_USABLE:
        fail_lease(lease=lease, reason=EndReason.PAYMENT_DISPUTED, now=now)
    elif lease.state == LeaseState.ACTIVE:
        end_lease(lease=lease, reason=EndReason.PAYMENT_DISPUTED, now=now)
    else:
        return False
    return True
