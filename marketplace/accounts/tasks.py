"""The clock of wrong passwords."""

from __future__ import annotations

from celery import shared_task

from marketplace.accounts import passwords
from marketplace.common import clock


@shared_task(name="accounts.forget_old_tries")
def forget_old_tries() -> None:
    """Drop the wrong passwords that count no more."""
    passwords.forget_old_tries(now=clock.now())
