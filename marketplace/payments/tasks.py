"""The clock of deposits."""

from celery import shared_task

from marketplace.common import clock
from marketplace.payments import services
from marketplace.payments.outbox_worker import work


@shared_task(name="payments.expire_deposits")
def expire_deposits() -> None:
    services.expire_deposits(now=clock.now())


@shared_task(name="payments.work_outbox")
def work_outbox() -> int:
    return work(clock.now)
