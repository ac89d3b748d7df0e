"""Deposits: announced by a firm, confirmed by an operator, and only then money in the wallet."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import Firm, User
from marketplace.accounts.selectors import lock_firm
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.events.services import keys_of_operator, once, record_event
from marketplace.events.transitions import WrongState, transition
from marketplace.payments.card_deposits import PAGE_LIVES, close_page, open_page
from marketplace.payments.fraud.first_deposits import check_card_deposit
from marketplace.payments.gateway import Operation
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit, TopUpRule
from marketplace.payments.reference import new_reference
from marketplace.payments.selectors import (
    any_deposit,
    deposit_for_update,
    deposit_of,
    gateway_named,
    is_being_charged,
    overdue_deposits,
)
from marketplace.payments.states import DepositState
from marketplace.payments.wire.services.booking import ask_to_confirm

OPEN_DEPOSITS_MAX = 50  # per firm
EXPIRE_AT_ONCE = 200  # per tick


def start_deposit(
    *,
    firm: Firm,
    currency: str,
    amount_micros: int,
    idempotency_key: str | None,
    now: datetime,
    gateway: str = "wire",
    actor: str = "system",
) -> tuple[Deposit, bool]:
    """Announce money; returns the deposit and whether it is new. No money moves yet.

    Raises Invalid for what the gateway does not take and Conflict when too many wait already, or when it is too much by
    card of a new firm (`fraud/first_deposits.py`).
    """
    check_taken(gateway, currency, amount_micros)
    body: dict[str, Any] = {"deposit": {"gateway": gateway, "currency": currency, "amount_micros": amount_micros}}

    def make() -> str:
        return str(begin_deposit(firm, gateway, currency, amount_micros, actor, now).public_id)

    public_id, is_new = once(firm_id=firm.pk, key=idempotency_key, body=body, now=now, make=make)
    return deposit_of(firm, public_id), is_new


@transaction.atomic
def confirm_deposit(*, operator: User, deposit_id: str, now: datetime) -> Deposit:
    """The money is there: move it from outside into the wallet, once however often this is called.

    Also when nobody waited for it any more: the event says that it came late. Above TWO_PERSON_LIMITS it stays as it is
    until another operator says the same. Raises NotAllowed unless `operator` is one, and NotFound.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator confirms deposits", code="operators_only")
    deposit = deposit_for_update(deposit_id)
    if deposit.state == DepositState.CONFIRMED:
        return deposit
    if not gateway_named(deposit.gateway).capabilities().confirmed_by_operator:
        raise Conflict(f"{deposit.gateway} itself says when the money is there", code="confirmed_by_gateway")
    ask_to_confirm(deposit, operator, now)
    return deposit


def confirm_deposit_once(*, operator: User, deposit_id: str, key: str | None, now: datetime) -> Deposit:
    """`confirm_deposit`, with the memory of the idempotency key, which is that operator's own."""
    once(
        firm_id=keys_of_operator(operator.pk),
        key=key,
        body={"confirm": deposit_id},
        now=now,
        make=lambda: str(confirm_deposit(operator=operator, deposit_id=deposit_id, now=now).public_id),
    )
    return any_deposit(deposit_id)


@transaction.atomic
def cancel_deposit(*, firm: Firm, deposit_id: str, now: datetime, actor: str = "system") -> Deposit:
    """The firm will not pay after all.

    Raises NotFound, WrongState when the money was there first, and Conflict while the saved card is being charged.
    """
    deposit = deposit_of(firm, deposit_id)
    if is_being_charged(deposit):
        raise Conflict("your card is being charged for this: wait for what comes of it", code="being_charged")
    transition(deposit, DepositState.CANCELLED, now=now, actor=actor, reason="cancelled_by_firm")
    close_page(deposit, now)
    return deposit


def look_at_payment(deposit: Deposit, now: datetime) -> None:
    """The firm came back from the payment page: find out soon whether it paid."""
    if deposit.state == DepositState.CREATED:
        _look(deposit, now)


def _look(deposit: Deposit, now: datetime) -> None:
    if deposit.page_id:
        look_at(deposit.gateway, "checkout.session", deposit.page_id, now=now)
    elif deposit.payment_id:
        look_at(deposit.gateway, "payment_intent", deposit.payment_id, now=now)


def expire_deposits(*, now: datetime) -> int:
    """Stop waiting for what never came; returns how many. An operator can still confirm a late wire."""
    expired = 0
    for deposit in overdue_deposits(now)[:EXPIRE_AT_ONCE]:
        with contextlib.suppress(WrongState), transaction.atomic():
            transition(deposit, DepositState.EXPIRED, now=now, reason="not_paid")
            expired += 1
            _look(deposit, now)  # the news of it may have been lost
    return expired


def check_taken(gateway: str, currency: str, amount_micros: int) -> None:
    """Raises Invalid for a currency or an amount that the gateway does not take."""
    can = gateway_named(gateway).capabilities()
    if currency not in can.currencies:
        raise Invalid(
            f"{gateway} takes {', '.join(sorted(can.currencies))}",
            code="unknown_currency",
            errors=(FieldError("/currency", "unknown", "this currency is not taken"),),
        )
    if amount_micros <= 0 or amount_micros % can.ticks_micros[currency]:
        raise Invalid(
            "the amount is not a positive multiple of the currency's smallest unit",
            code="bad_amount",
            errors=(FieldError("/amount", "tick", "give at most two places"),),
        )


def begin_deposit(firm: Firm, gateway: str, currency: str, amount_micros: int, actor: str, now: datetime) -> Deposit:
    """A deposit with its page, where the gateway has one; call it inside a transaction, after `check_taken`."""
    lock_firm(firm)
    if Deposit.objects.filter(firm=firm, state=DepositState.CREATED).count() >= OPEN_DEPOSITS_MAX:
        raise Conflict(f"at most {OPEN_DEPOSITS_MAX} deposits wait at a time: cancel one", code="too_many_deposits")
    check_card_deposit(firm, gateway, currency, amount_micros, now)
    deposit = new_deposit(firm, gateway, currency, amount_micros, actor, now)
    if _has_page(gateway):
        open_page(deposit, now)
    return deposit


def new_deposit(
    firm: Firm,
    gateway: str,
    currency: str,
    amount_micros: int,
    actor: str,
    now: datetime,
    *,
    rule: TopUpRule | None = None,
) -> Deposit:
    """A deposit that is waited for, and its event; call it inside a transaction."""
    deposit = Deposit.objects.create(
        firm=firm,
        currency=currency,
        amount_micros=amount_micros,
        gateway=gateway,
        reference=new_reference(),
        created_at=now,
        expires_at=now + (PAGE_LIVES if _has_page(gateway) else timedelta(days=settings.DEPOSIT_DAYS)),
        rule=rule,
    )
    record_event(
        firm_id=firm.pk,
        type="deposit.created",
        subject=deposit.public_id,
        actor=actor,
        data={"amount_micros": amount_micros, "currency": currency, "reference": deposit.reference},
        now=now,
    )
    return deposit


def _has_page(gateway: str) -> bool:
    return Operation.OPEN_CHECKOUT in gateway_named(gateway).capabilities().operations
