"""Clocks of leases."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.leases.services.advancing import advance_leases


@shared_task(name="leases.advance_leases")
def advance_leases_task() -> None:
    advance_leases(now=clock.now())
