"""Refunds that nobody asked for here: made in the gateway's own dashboard. The money has left, and its payer bears it.

What they take is the platform's loss until the payer's wallet and then its earnings make it good; what is missing the
payer owes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.events.services import record_event
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.payments.debts import give_back, take_owed
from marketplace.payments.gateway import GatewayError, Trouble
from marketplace.payments.models import Deposit, DepositRefund, GatewayCall
from marketplace.payments.selectors import refunds_owed
from marketplace.payments.states import CallState, DepositState, TransferState


def made_outside(fact: Mapping[str, Any], now: datetime) -> DepositRefund | None:
    """The row of a refund that none of our calls made; None when it is of no deposit here or has moved nothing yet.

    Raises GatewayError while our own call may have made it, and while its payment is not booked.
    """
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=fact["deposit_id"]).first()
    if deposit is None or fact["entry"] is None:
        return None
    ours = GatewayCall.objects.filter(public_id=fact["call_id"], state__in=[CallState.WAITING, CallState.ASKING])
    if deposit.state != DepositState.CONFIRMED or ours.exists():
        raise GatewayError(Trouble.RETRY, "what it belongs to is not settled yet")
    amount = fact["amount_micros"]
    refund, is_new = DepositRefund.objects.get_or_create(
        object_id=fact["refund_id"],
        defaults={
            "deposit": deposit,
            "amount_micros": amount,
            "missing_micros": amount,
            "is_from_outside": True,
            "state": TransferState.SENT,
            "created_at": now,
        },
    )
    if is_new:
        data = {"amount_micros": amount, "currency": deposit.currency, "deposit": deposit.public_id}
        for firm_id in (deposit.firm_id, None):
            record_event(
                firm_id=firm_id, type="deposit_refund.made_outside", subject=refund.public_id, data=data, now=now
            )
    return refund


def loss_of(refund: DepositRefund) -> Account:
    """What the platform bears of it so far."""
    return account_for(firm=None, kind=AccountKind.DISPUTE_LOSS, currency=refund.deposit.currency)


def collect(refund: DepositRefund, code: Code, now: datetime) -> None:
    """Take what is missing from its payer, as far as it goes."""
    if not refund.missing_micros:
        return
    taken = take_owed(
        refund.deposit.firm,
        refund.missing_micros,
        into=loss_of(refund),
        ref=f"refund:{refund.public_id}:missing:{refund.missing_micros}",
        code=code,
        subject=refund.public_id,
        now=now,
    )
    refund.missing_micros -= taken
    refund.save(update_fields=["missing_micros"])


def came_back(refund: DepositRefund, now: datetime) -> None:
    """The bank sent it back to the gateway: the payer gets back what was taken, and owes nothing more."""
    taken = refund.amount_micros - refund.missing_micros
    give_back(
        refund.deposit.firm,
        taken,
        out_of=loss_of(refund),
        ref=f"refund:{refund.public_id}:came_back",
        code=Code.DEPOSIT_REFUND,
        subject=refund.public_id,
        now=now,
    )
    refund.missing_micros = 0
    refund.save(update_fields=["missing_micros"])


def collect_debts(*, now: datetime) -> int:
    """Set off what payers owe against what they have by now; returns how many refunds were looked at."""
    owing = list(refunds_owed().values_list("pk", flat=True))
    for pk in owing:
        with transaction.atomic():
            rows = DepositRefund.objects.select_related("deposit__firm").select_for_update(of=("self",))
            collect(rows.get(pk=pk), Code.SET_OFF, now)
    return len(owing)
