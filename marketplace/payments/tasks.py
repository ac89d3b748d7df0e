"""The clock of deposits."""

from celery import shared_task

from marketplace.common import clock
from marketplace.payments import services


@shared_task(name="payments.expire_deposits")
def expire_deposits() -> None:
    services.expire_deposits(now=clock.now())
