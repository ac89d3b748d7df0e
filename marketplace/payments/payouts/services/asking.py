"""Asking for a payout: the money is set aside in the same transaction."""

from __future__ import annotations

import contextlib
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction

from marketplace.accounts.models import Firm
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict, DomainError, FieldError, Invalid
from marketplace.common.money import format_micros
from marketplace.events.services import once, record_event
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Payout
from marketplace.payments.payouts.selectors import (
    details_in_force,
    firms_with_earnings,
    payout_for_update,
    payout_of,
    terms,
)
from marketplace.payments.payouts.services.outcome import close_failed
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.reference import new_reference
from marketplace.payments.selectors import WIRE, refuse_debtors
from marketplace.payments.sellers import way_of_paying
from marketplace.payments.stripe_gateway.coins import floored, tick_micros

CLOCK = "system"


def request_payout(
    *,
    firm: Firm,
    currency: str,
    amount_micros: int,
    idempotency_key: str | None,
    now: datetime,
    actor: str = CLOCK,
) -> tuple[Payout, bool]:
    """Set earnings aside for the bank; returns the payout and whether it is new.

    Raises Invalid for an amount below the minimum or between two coins, and Conflict for a firm that Stripe pays or
    that owes, without bank details in force, or when less is free: not cleared yet, a new seller's
    reserve, or paid with cards not yet seasoned.
    """
    body = {"payout": {"currency": currency, "amount_micros": amount_micros}}

    def make() -> str:
        return str(_create(firm, currency, amount_micros, actor, now).public_id)

    public_id, is_new = once(firm_id=firm.pk, key=idempotency_key, body=body, now=now, make=make)
    return payout_of(firm, public_id), is_new


@transaction.atomic
def cancel_payout(*, firm: Firm, payout_id: str, actor: str, now: datetime) -> Payout:
    """The firm wants to keep it here. Raises NotFound, and WrongState once it is sent."""
    payout_of(firm, payout_id)
    payout = payout_for_update(payout_id)
    if payout.state == PayoutState.FAILED and payout.reason == "cancelled_by_firm":
        return payout
    if payout.state != PayoutState.CREATED:
        raise Conflict(f"this payout is {payout.state} and can't be cancelled", code="wrong_state")
    close_failed(payout, reason="cancelled_by_firm", actor=actor, now=now)
    return payout


def pay_weekly(*, now: datetime) -> int:
    """Once a week, from PAYOUT_WEEKDAY on, ask for all that is free; returns how many payouts were made.

    None for firms that Stripe pays or that owe."""
    year, week, weekday = now.isocalendar()
    if not 0 <= settings.PAYOUT_WEEKDAY < weekday:
        return 0
    made = 0
    for firm_id, currency in firms_with_earnings(f"{year}-W{week:02}"):
        firm = Firm.objects.get(pk=firm_id)
        with contextlib.suppress(DomainError, IntegrityError), transaction.atomic():
            made += _pay_week(firm, currency, f"{year}-W{week:02}", now)
    return made


def _pay_week(firm: Firm, currency: str, week: str, now: datetime) -> int:
    lock_firm(firm)
    found = terms(firm, currency, now)
    amount = floored(found.free.free_micros, currency)
    if not found.may_ask or not amount or details_in_force(firm, now) is None:
        return 0
    _create(firm, currency, amount, CLOCK, now, week=week)
    return 1


def _create(firm: Firm, currency: str, amount_micros: int, actor: str, now: datetime, *, week: str = "") -> Payout:
    lock_firm(firm)
    _check_paid_by_wire(firm)
    _check(firm, currency, amount_micros, now)
    details = details_in_force(firm, now)
    if details is None:
        raise Conflict("name a bank account first; it is in force some days later", code="no_bank_details")
    payout = Payout.objects.create(
        firm=firm,
        currency=currency,
        amount_micros=amount_micros,
        bank_details=details,
        reference=new_reference(),
        week=week,
        created_at=now,
    )
    earnings = account_for(firm=firm, kind=AccountKind.EARNINGS, currency=currency)
    leaving = account_for(firm=firm, kind=AccountKind.PAYOUT, currency=currency)
    post(
        ref=f"payout:{payout.public_id}",
        code=Code.PAYOUT,
        legs=[Leg(earnings, -amount_micros), Leg(leaving, amount_micros)],
        now=now,
        subject=payout.public_id,
    )
    record_event(
        firm_id=firm.pk,
        type="payout.created",
        subject=payout.public_id,
        actor=actor,
        reason="weekly" if week else "",
        data={"amount_micros": amount_micros, "currency": currency, "account": details.hint},
        now=now,
    )
    return payout


def _check_paid_by_wire(firm: Firm) -> None:
    if way_of_paying(firm) != WIRE.name:
        raise Conflict("Stripe pays what you earn: see the page about getting paid", code="paid_by_stripe")
    refuse_debtors(firm)


def _check(firm: Firm, currency: str, amount_micros: int, now: datetime) -> None:
    found = terms(firm, currency, now)
    tick = tick_micros(currency)
    if amount_micros <= 0 or amount_micros % tick:
        raise Invalid(
            "the amount is not a positive multiple of the currency's smallest unit",
            errors=(FieldError("/amount", "tick", f"use steps of {format_micros(tick)}"),),
        )
    if amount_micros < found.minimum_micros:
        least = f"{format_micros(found.minimum_micros, places=2)} {currency}"
        raise Invalid(
            f"a payout is at least {least}",
            code="below_minimum",
            errors=(FieldError("/amount", "minimum", f"at least {least}"),),
        )
    if amount_micros > found.free.free_micros:
        raise Conflict(
            f"{format_micros(found.free.free_micros, places=2)} {currency} are free: "
            f"{format_micros(found.free.uncleared_micros, places=2)} are not cleared yet, "
            f"{format_micros(found.free.held_micros, places=2)} are held as a reserve, "
            f"{format_micros(found.free.unseasoned_micros, places=2)} were paid with cards not yet seasoned",
            code="insufficient_funds",
        )
