"""The clocks of deposits and payouts."""

from celery import shared_task

from marketplace.common import clock
from marketplace.payments import services
from marketplace.payments.payouts.services import asking


@shared_task(name="payments.expire_deposits")
def expire_deposits() -> None:
    services.expire_deposits(now=clock.now())


@shared_task(name="payments.pay_weekly")
def pay_weekly() -> None:
    asking.pay_weekly(now=clock.now())
