"""Deposits by card: a hosted page is opened through the outbox, and what the gateway says of the payment is booked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.payments.entries import book_entry
from marketplace.payments.fraud.first_deposits import three_d_secure
from marketplace.payments.gateway import GatewayError, Operation, Receipt, Trouble
from marketplace.payments.models import Deposit, GatewayCall, SavedCard, TopUpRule
from marketplace.payments.outbox import enqueue
from marketplace.payments.saved_cards import card_saved, turn_on_again
from marketplace.payments.selectors import deposit_for_update
from marketplace.payments.states import DepositState

PAGE_LIVES = timedelta(hours=25)  # a page is open for 24 hours; an hour for the news of it


def open_page(deposit: Deposit, now: datetime) -> None:
    """Have a page opened on which the firm pays."""
    here = f"{settings.PUBLIC_URL}/wallet/deposits/{deposit.public_id}/"
    card = SavedCard.objects.filter(firm=deposit.firm, gateway=deposit.gateway).first()
    params = {
        "deposit_id": deposit.public_id,
        "customer_id": card.customer_id if card else "",
        "title": f"{settings.PLATFORM_NAME}: deposit {deposit.reference}",
        "currency": deposit.currency,
        "amount_micros": deposit.amount_micros,
        "three_d_secure": three_d_secure(deposit.firm, deposit.currency, deposit.amount_micros, now),
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


def page_seen(fact: Mapping[str, Any], now: datetime) -> None:
    """What the payment page has come to."""
    if fact["card"]:
        card_saved(fact, now)
    if fact["payment"]:
        payment_seen(fact["payment"], now)
    if fact["status"] != "expired":
        return
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=fact["for"]).first()
    if deposit is not None and deposit.state == DepositState.CREATED:
        transition(deposit, DepositState.EXPIRED, now=now, reason="page_expired", pay_url="")


def payment_seen(fact: Mapping[str, Any], now: datetime) -> None:
    """What a payment has come to: into the wallet with it, once. Nothing happens for a payment that is not ours.

    Whoever paid a deposit twice has both in the wallet, and hears of it.
    """
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=fact["deposit_id"]).first()
    if deposit is None or fact["status"] != "succeeded":
        return
    charge = fact["charge"]
    if deposit.state == DepositState.CONFIRMED and deposit.payment_id == fact["payment_id"]:
        return
    _check(deposit, charge)
    if deposit.state == DepositState.CONFIRMED:
        _paid_again(deposit, fact, now)
        return
    transition(
        deposit,
        DepositState.CONFIRMED,
        now=now,
        reason="" if deposit.state == DepositState.CREATED else "came_late",
        data={"amount_micros": deposit.amount_micros, "currency": deposit.currency},
        confirmed_at=now,
        payment_id=fact["payment_id"],
        charge_id=charge["charge_id"],
        card_fingerprint=charge["fingerprint"],
        pay_url="",
    )
    _book(deposit, charge["entry"], now)
    if deposit.rule_id is not None:
        turn_on_again(TopUpRule.objects.filter(pk=deposit.rule_id), now)


def _paid_again(deposit: Deposit, fact: Mapping[str, Any], now: datetime) -> None:
    if not _book(deposit, fact["charge"]["entry"], now):
        return
    data = {"amount_micros": deposit.amount_micros, "currency": deposit.currency, "payment": fact["payment_id"]}
    for firm_id in (deposit.firm_id, None):
        record_event(firm_id=firm_id, type="deposit.paid_again", subject=deposit.public_id, data=data, now=now)


def _book(deposit: Deposit, entry: Mapping[str, Any], now: datetime) -> bool:
    """The firm gets all that was paid, and the platform pays the fee."""
    return book_entry(
        gateway=deposit.gateway,
        entry=entry,
        account=account_for(firm=deposit.firm, kind=AccountKind.WALLET, currency=deposit.currency),
        code=Code.DEPOSIT,
        subject=deposit.public_id,
        now=now,
        data={"reference": deposit.reference},
    )


def _check(deposit: Deposit, charge: Mapping[str, Any]) -> None:
    entry = charge["entry"]
    if entry is None:
        raise GatewayError(Trouble.RETRY, "the payment is not in the gateway's books yet")
    paid = {(each["amount_micros"], each["currency"]) for each in (charge, entry)}
    if paid != {(deposit.amount_micros, deposit.currency)}:
        raise GatewayError(Trouble.ASK, f"{deposit.public_id} was paid with another amount or currency: {paid}")
