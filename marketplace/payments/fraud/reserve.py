"""The reserve: a share of the platform's fees is put aside each day, and lost disputes are paid from it first."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from marketplace.ledger.models import Account, AccountKind, Code, Entry, Journal
from marketplace.ledger.selectors import account_for, entries_total, lock_accounts
from marketplace.ledger.services import Leg, post
from marketplace.ledger.snapshots import balances_at
from marketplace.payments.models import PaymentDispute
from marketplace.payments.states import PaymentDisputeState

BASIS_POINTS = 10_000


def reserve_of(currency: str) -> Account:
    """The platform's reserve in a currency; whoever takes from it locks it, for nothing else keeps it above zero."""
    return account_for(firm=None, kind=AccountKind.RESERVE, currency=currency)


def put_aside(*, now: datetime) -> int:
    """Once a day and currency, DISPUTE_RESERVE_BASIS_POINTS of the fees that came since; returns how many journals.

    A journal of its own, so that neither a settlement nor a fee invoice knows of it. What was earned before the first
    day counts too.
    """
    fees = Account.objects.filter(firm=None, kind=AccountKind.PLATFORM_FEE).order_by("currency")
    return sum(_put_aside(account, now) for account in fees)


@transaction.atomic
def _put_aside(fees: Account, now: datetime) -> bool:
    ref = f"reserve:{fees.currency}:{now:%Y-%m-%d}"
    if Journal.objects.filter(ref=ref).exists():
        return False
    reserve = reserve_of(fees.currency)
    lock_accounts([reserve.pk])
    before = Entry.objects.filter(account=reserve, journal__code=Code.RESERVE).select_related("journal")
    newest = before.order_by("-pk").first()
    moved = sum(before.values_list("amount_micros", flat=True))
    earned = balances_at(now, [fees.pk]).get(fees.pk, 0) + moved
    new = earned - (newest.journal.data["fees_micros"] if newest else 0)
    micros = max(0, new) * settings.DISPUTE_RESERVE_BASIS_POINTS // BASIS_POINTS
    legs = [Leg(fees, -micros), Leg(reserve, micros)]
    return post(ref=ref, code=Code.RESERVE, legs=legs, data={"fees_micros": earned}, now=now)


def settle(dispute: PaymentDispute, now: datetime) -> None:
    """Lost: pay what nobody bears, as far as the reserve goes. Won after all: it has back what it paid.

    Call it with the dispute and the reserve locked, after the sellers' part and before any debt is set off.
    """
    if dispute.state == PaymentDisputeState.LOST:
        micros = max(0, min(dispute.missing_micros, entries_total(reserve_of(dispute.deposit.currency))))
        _pay(dispute, micros, "covered", now)
    elif dispute.state == PaymentDisputeState.WON:
        _pay(dispute, -dispute.reserve_micros, "uncovered", now)


def refill(dispute: PaymentDispute, now: datetime) -> None:
    """What was set off makes good what nobody bore yet, and then what the reserve has paid."""
    if dispute.state == PaymentDisputeState.LOST:
        back = max(0, dispute.reserve_micros - dispute.missing_micros)
        _pay(dispute, -back, f"refilled:{dispute.reserve_micros}", now)


def _pay(dispute: PaymentDispute, micros: int, what: str, now: datetime) -> None:
    """Out of the reserve into the loss; below zero the other way."""
    currency = dispute.deposit.currency
    loss = account_for(firm=None, kind=AccountKind.DISPUTE_LOSS, currency=currency)
    ref = f"dispute:{dispute.public_id}:{what}"
    legs = [Leg(reserve_of(currency), -micros), Leg(loss, micros)]
    if post(ref=ref, code=Code.DISPUTE, legs=legs, subject=dispute.public_id, now=now):
        dispute.reserve_micros += micros
        dispute.save(update_fields=["reserve_micros"])
