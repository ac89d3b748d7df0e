"""Deposits by card: a hosted page is opened through the outbox, and what the gateway says of the payment is booked."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from marketplace.events.transitions import transition
from marketplace.payments.gateway import GatewayError, Operation, Receipt
from marketplace.payments.models import Deposit, GatewayCall
from marketplace.payments.outbox import enqueue
from marketplace.payments.selectors import deposit_for_update
from marketplace.payments.states import DepositState

PAGE_LIVES = timedelta(hours=25)  # a page is open for 24 hours; an hour for the news of it


def open_page(deposit: Deposit, now: datetime) -> None:
    """Have a page opened on which the firm pays."""
    here = f"{settings.PUBLIC_URL}/wallet/deposits/{deposit.public_id}/"
    params = {
        "deposit_id": deposit.public_id,
        "title": f"{settings.PLATFORM_NAME}: deposit {deposit.reference}",
        "currency": deposit.currency,
        "amount_micros": deposit.amount_micros,
        "success_url": f"{here}?back=1",
        "cancel_url": here,
    }
    enqueue(
        gateway=deposit.gateway,
        operation=Operation.OPEN_CHECKOUT,
        params=params,
        subject=deposit.public_id,
        firm=deposit.firm,
        now=now,
    )


def close_page(deposit: Deposit, now: datetime) -> None:
    """Have the page closed: the firm will not pay. A page that is not open yet is closed when it is."""
    if deposit.page_id:
        enqueue(
            gateway=deposit.gateway,
            operation=Operation.CLOSE_CHECKOUT,
            params={"page_id": deposit.page_id},
            subject=deposit.public_id,
            firm=deposit.firm,
            now=now,
        )


def page_opened(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The firm can pay now."""
    deposit = deposit_for_update(call.subject)
    deposit.page_id, deposit.pay_url = receipt.object_id, receipt.data["url"]
    deposit.save(update_fields=["page_id", "pay_url"])
    if deposit.state != DepositState.CREATED:
        close_page(deposit, now)


def page_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """There will be no page: the deposit ends."""
    deposit = deposit_for_update(call.subject)
    if deposit.state == DepositState.CREATED:
        transition(deposit, DepositState.CANCELLED, now=now, reason="refused_by_gateway", data={"code": refusal.code})
