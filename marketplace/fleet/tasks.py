"""The clocks of the fleet's history."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.fleet import services


@shared_task(name="fleet.roll_up_hours")
def roll_up_hours() -> None:
    """What every card did, by the hour."""
    services.roll_up_hours(now=clock.now())


@shared_task(name="fleet.forget_old_hours")
def forget_old_hours() -> None:
    """Drop what is older than it is kept."""
    services.forget_old_hours(now=clock.now())
