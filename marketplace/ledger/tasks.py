"""Clocks of the ledger."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.ledger.snapshots import take_snapshots


@shared_task(name="ledger.take_snapshots")
def take_snapshots_task() -> int:
    return take_snapshots(now=clock.now())
