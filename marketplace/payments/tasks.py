"""The clocks of payments and payouts."""

from celery import shared_task

from marketplace.common import clock
from marketplace.payments import (
    disputes,
    inbox,
    inbox_worker,
    outbox_worker,
    outside_refunds,
    sellers,
    services,
    top_ups,
    transfers,
)
from marketplace.payments.fraud import alerts, reserve
from marketplace.payments.payouts.services import asking
from marketplace.payments.reconciliation.services import running


@shared_task(name="payments.expire_deposits")
def expire_deposits() -> None:
    services.expire_deposits(now=clock.now())


@shared_task(name="payments.work_outbox")
def work_outbox() -> int:
    return outbox_worker.work(clock.now)


@shared_task(name="payments.work_inbox")
def work_inbox() -> int:
    return inbox_worker.work(clock.now)


@shared_task(name="payments.fill_gaps")
def fill_gaps() -> int:
    sellers.look_at_accounts(now=clock.now())
    return inbox.fill_gaps(now=clock.now())


@shared_task(name="payments.top_up")
def top_up() -> int:
    return top_ups.top_up(now=clock.now())


@shared_task(name="payments.send_earnings")
def send_earnings() -> int:
    return transfers.send_earnings(now=clock.now())


@shared_task(name="payments.collect_debts")
def collect_debts() -> int:
    return disputes.collect_debts(now=clock.now()) + outside_refunds.collect_debts(now=clock.now())


@shared_task(name="payments.find_linked_trades")
def find_linked_trades() -> int:
    return alerts.find_linked_trades(now=clock.now())


@shared_task(name="payments.put_aside")
def put_aside() -> int:
    return reserve.put_aside(now=clock.now())


@shared_task(name="payments.pay_weekly")
def pay_weekly() -> None:
    asking.pay_weekly(now=clock.now())


@shared_task(name="payments.reconcile")
def reconcile() -> int:
    return running.work(clock.now)
