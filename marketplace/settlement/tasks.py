"""Clocks of settlement."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.settlement.services import work


@shared_task(name="settlement.settle_leases")
def settle_leases_task() -> int:
    return work(clock.now)
