"""What operators book by hand. Above a limit one asks and another one agrees; each step is in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed, NotFound
from marketplace.events.services import keys_of_operator, once, record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Deposit
from marketplace.payments.payouts.selectors import payout_for_update
from marketplace.payments.payouts.services.outcome import close_failed
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.reconciliation.services.closing import close_with
from marketplace.payments.reconciliation.services.transit import arrived
from marketplace.payments.reference import new_reference
from marketplace.payments.selectors import deposit_for_update
from marketplace.payments.states import DepositState
from marketplace.payments.stripe_gateway.coins import tick_micros
from marketplace.payments.wire.models import ManualBooking, StatementLine
from marketplace.payments.wire.selectors import (
    GATEWAY,
    any_booking,
    booking_for_update,
    check_not_own,
    clearing_of,
    difference_in,
    line_for_update,
    lock_bank,
    needs_two,
    suspense_of,
)
from marketplace.payments.wire.services.confirming import confirm_by_hand
from marketplace.payments.wire.services.settling import confirm_with, into_wallet, pay_with, payout_named_by
from marketplace.payments.wire.states import Action, BookingState, LineState

OF_A_LINE = frozenset(
    {Action.DEPOSIT, Action.FIRM, Action.RETURN, Action.COST, Action.OWN, Action.PAYOUT_MADE, Action.TRANSIT}
)
Carry = Callable[[ManualBooking, User, datetime], None]


def decide_line(
    *,
    operator: User,
    line_id: str,
    action: str,
    now: datetime,
    key: str | None,
    deposit_reference: str = "",
    firm_id: str = "",
    reason: str = "",
) -> ManualBooking:
    """Say what a waiting line is. Done at once up to TWO_PERSON_LIMITS, else another operator must agree.

    Raises NotFound, Conflict when the line does not wait or was asked about already, Invalid for an action that does
    not fit the line, and what `once` raises.
    """
    _require_operator(operator)
    body = {"line": line_id, "action": action, "deposit": deposit_reference, "firm": firm_id, "reason": reason}

    def make() -> str:
        line = line_for_update(line_id)
        _check_line(line, action)
        booking = ManualBooking(
            action=action, currency=line.currency, amount_micros=line.amount_micros, line=line, reason=reason
        )
        booking.deposit = _deposit(line, deposit_reference) if action == Action.DEPOSIT else None
        booking.firm = _firm(firm_id) if action == Action.FIRM else None
        if action == Action.PAYOUT_MADE:
            payout = payout_named_by(line)
            booking.firm, booking.subject = payout.firm, payout.public_id
        return str(ask(booking, operator, now).public_id)

    return any_booking(once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)[0])


def book_difference(
    *, operator: User, currency: str, amount_micros: int, reason: str, now: datetime, key: str | None
) -> ManualBooking:
    """Book what the ledger lacks of the bank's balance (or has too much) against the platform's own money.

    For an account that was not empty when its first statement came. Raises Invalid without a reason or an amount, and
    Conflict when that is not the difference any more.
    """
    _require_operator(operator)
    if not amount_micros or not reason.strip():
        raise Invalid("say how much and why", errors=(FieldError("/reason", "required", "say why"),))
    body: dict[str, Any] = {"difference": currency, "amount_micros": amount_micros, "reason": reason}

    def make() -> str:
        booking = ManualBooking(
            action=Action.DIFFERENCE, currency=currency, amount_micros=amount_micros, reason=reason.strip()
        )
        return str(ask(booking, operator, now).public_id)

    return any_booking(once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)[0])


def ask(booking: ManualBooking, operator: User, now: datetime) -> ManualBooking:
    """Store a booking, and carry it out when it needs nobody else. Call it in a transaction."""
    check_not_own(operator, _firm_of(booking))
    booking.asked_by, booking.asked_at = operator, now
    booking.save(force_insert=True)
    record_event(
        firm_id=None,
        type="manual_booking.asked",
        subject=booking.public_id,
        reason=str(booking.action),
        actor=operator.public_id,
        data=_told(booking),
        now=now,
    )
    if not needs_two(booking.currency, booking.amount_micros):
        _carry_out(booking, operator, now)
    return booking


def ask_to_confirm(deposit: Deposit, operator: User, now: datetime) -> None:
    """One operator's word that a deposit is there; above the limit it takes two. The caller holds its lock."""
    check_not_own(operator, deposit.firm)
    if not needs_two(deposit.currency, deposit.amount_micros):
        confirm_by_hand(deposit, operator, now)
        return
    found = ManualBooking.objects.select_for_update(of=("self",)).filter(state=BookingState.ASKED, deposit=deposit)
    asked = found.filter(action=Action.CONFIRM).first()
    if asked is None:
        booking = ManualBooking(
            action=Action.CONFIRM,
            currency=deposit.currency,
            amount_micros=deposit.amount_micros,
            deposit=deposit,
            subject=deposit.reference,
        )
        ask(booking, operator, now)
    elif asked.asked_by_id != operator.pk:
        _carry_out(asked, operator, now)
        deposit.refresh_from_db()


@transaction.atomic
def agree(*, operator: User, booking_id: str, now: datetime) -> ManualBooking:
    """Carry out what another operator asked for. Raises NotAllowed for the one who asked, and NotFound."""
    _require_operator(operator)
    booking = _locked(booking_id)
    if booking.asked_by_id == operator.pk:
        raise NotAllowed("another operator must agree", code="second_operator_needed")
    _carry_out(booking, operator, now)
    return booking


@transaction.atomic
def refuse(*, operator: User, booking_id: str, now: datetime) -> ManualBooking:
    """Do not do it; whoever asked may take it back like this too."""
    _require_operator(operator)
    booking = booking_for_update(booking_id)
    check_not_own(operator, _firm_of(booking))
    _close(booking, BookingState.REFUSED, operator, now)
    return booking


@transaction.atomic
def keep_line(*, operator: User, line_id: str, now: datetime) -> StatementLine:
    """Do not send it back after all; it waits again. Raises Conflict when it does not go back or a file has it."""
    _require_operator(operator)
    line = line_for_update(line_id)
    if line.state != LineState.RETURNING or line.return_file_id is not None:
        raise Conflict("only what goes back and is in no file yet can be kept", code="wrong_state")
    transition(
        line, LineState.WAITING, now=now, actor=operator.public_id, reason="kept_after_all", return_reference=None
    )  # fmt: skip
    return line


def _locked(booking_id: str) -> ManualBooking:
    """The booking, locked after the deposit that it confirms: `ask_to_confirm` has them in this order."""
    confirms = ManualBooking.objects.filter(public_id=booking_id, action=Action.CONFIRM)
    for deposit_id in confirms.values_list("deposit__public_id", flat=True):
        deposit_for_update(deposit_id)
    return booking_for_update(booking_id)


def _carry_out(booking: ManualBooking, operator: User, now: datetime) -> None:
    check_not_own(operator, _firm_of(booking))
    _close(booking, BookingState.DONE, operator, now)
    CARRY[Action(booking.action)](booking, operator, now)


def _firm_of(booking: ManualBooking) -> Firm | None:
    return booking.deposit.firm if booking.deposit else booking.firm


def _close(booking: ManualBooking, to: str, operator: User, now: datetime) -> None:
    transition(
        booking,
        to,
        now=now,
        reason=str(booking.action),
        actor=operator.public_id,
        data=_told(booking) | {"asked_by": booking.asked_by.public_id},
        decided_by=operator,
        decided_at=now,
    )


def _book_deposit(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    assert booking.deposit
    deposit = deposit_for_update(booking.deposit.public_id)
    suspense = suspense_of(line.currency)
    if deposit.state != DepositState.CONFIRMED:
        confirm_with(deposit, line, suspense, actor=operator.public_id, now=now)
    elif deposit.lines.filter(state=LineState.BOOKED).exists():
        into_wallet(deposit, line, suspense, f"bank:{line.public_id}:deposit", now)
    else:
        raise Conflict("this deposit was confirmed by hand: what came is in the wallet already", code="booked_by_hand")
    _settled(line, booking, operator, now, deposit=deposit)


def _book_firm(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    wallet = account_for(firm=booking.firm, kind=AccountKind.WALLET, currency=line.currency)
    _from_suspense(line, booking, Code.DEPOSIT, wallet, now)
    _settled(line, booking, operator, now)
    assert booking.firm
    record_event(
        firm_id=booking.firm.pk,
        type="deposit.assigned",
        subject=line.public_id,
        actor=operator.public_id,
        data={"amount_micros": line.amount_micros, "currency": line.currency},
        now=now,
    )


def _book_return(booking: ManualBooking, operator: User, now: datetime) -> None:
    """It stays on suspense until a statement shows that it left."""
    line = _locked_line(booking)
    transition(
        line,
        LineState.RETURNING,
        now=now,
        actor=operator.public_id,
        reason=str(booking.action),
        return_reference=new_reference(),
    )


def _book_cost(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    cost = account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=line.currency, ref=GATEWAY)
    _from_suspense(line, booking, Code.GATEWAY_FEE, cost, now)
    _settled(line, booking, operator, now)


def _book_own(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    own = account_for(firm=None, kind=AccountKind.OWN, currency=line.currency)
    _from_suspense(line, booking, Code.OWN_MONEY, own, now)
    _settled(line, booking, operator, now)


def _book_payout(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    pay_with(payout_named_by(line), line, now)
    _settled(line, booking, operator, now)


def _book_transit(booking: ManualBooking, operator: User, now: datetime) -> None:
    line = _locked_line(booking)
    arrived(line, actor=operator.public_id, now=now)
    _settled(line, booking, operator, now)


def _book_difference(booking: ManualBooking, operator: User, now: datetime) -> None:
    """Only while it is still the difference: a file may have come, or another operator may have booked it."""
    lock_bank()
    found = difference_in(booking.currency)
    if found is None or found.balance_micros != booking.amount_micros:
        raise Conflict("the difference is another one by now: look again", code="another_difference")
    own = account_for(firm=None, kind=AccountKind.OWN, currency=booking.currency)
    post(
        ref=f"manual:{booking.public_id}",
        code=Code.OWN_MONEY,
        legs=[Leg(clearing_of(booking.currency), -booking.amount_micros), Leg(own, booking.amount_micros)],
        now=now,
        subject=booking.public_id,
        data={"reason": booking.reason, "operator": operator.public_id},
    )


def _fail_payout(booking: ManualBooking, operator: User, now: datetime) -> None:
    payout = payout_for_update(booking.subject)
    if payout.state != PayoutState.SENT:
        raise Conflict(f"this payout is {payout.state}", code="wrong_state")
    close_failed(payout, reason="not_made_by_bank", actor=operator.public_id, now=now)


def _confirm(booking: ManualBooking, operator: User, now: datetime) -> None:
    assert booking.deposit
    deposit = deposit_for_update(booking.deposit.public_id)
    if deposit.state == DepositState.CONFIRMED:
        raise Conflict("this deposit is confirmed already", code="wrong_state")
    confirm_by_hand(deposit, operator, now)


CARRY: dict[Action, Carry] = {
    Action.DEPOSIT: _book_deposit,
    Action.FIRM: _book_firm,
    Action.RETURN: _book_return,
    Action.COST: _book_cost,
    Action.OWN: _book_own,
    Action.DIFFERENCE: _book_difference,
    Action.CONFIRM: _confirm,
    Action.PAYOUT_MADE: _book_payout,
    Action.PAYOUT_FAILED: _fail_payout,
    Action.TRANSIT: _book_transit,
    Action.OFF_FIRM: close_with,
    Action.OFF_COST: close_with,
    Action.OFF_OWN: close_with,
}


def _from_suspense(line: StatementLine, booking: ManualBooking, code: Code, to: Any, now: datetime) -> None:
    post(
        ref=f"bank:{line.public_id}:{booking.action}",
        code=code,
        legs=[Leg(suspense_of(line.currency), -line.amount_micros), Leg(to, line.amount_micros)],
        now=now,
        subject=line.public_id,
        data={"booking": booking.public_id, "booked_on": line.booked_on.isoformat()},
    )


def _settled(line: StatementLine, booking: ManualBooking, operator: User, now: datetime, **columns: Any) -> None:
    transition(
        line, LineState.BOOKED, now=now, actor=operator.public_id, reason=str(booking.action), **columns
    )  # fmt: skip


def _locked_line(booking: ManualBooking) -> StatementLine:
    assert booking.line
    line = line_for_update(booking.line.public_id)
    if line.state != LineState.WAITING:
        raise Conflict("this line does not wait any more", code="wrong_state")
    return line


def _check_line(line: StatementLine, action: str) -> None:
    if action not in OF_A_LINE:
        raise Invalid("there is no such action", errors=(FieldError("/action", "unknown", "choose one of the list"),))
    if line.state != LineState.WAITING:
        raise Conflict("this line does not wait any more", code="wrong_state")
    if line.bookings.filter(state=BookingState.ASKED).exists():
        raise Conflict("another operator was asked about this line already", code="asked_already")
    if line.amount_micros < 0 and action in {Action.DEPOSIT, Action.FIRM, Action.RETURN, Action.TRANSIT}:
        raise Invalid("this is only for money that came", code="wrong_direction")
    if action == Action.RETURN and line.amount_micros % tick_micros(line.currency):
        raise Invalid("a bank sends whole coins: this amount has a part of one", code="part_of_a_coin")


def _deposit(line: StatementLine, reference: str) -> Deposit:
    wanted = "".join(reference.split()).upper()
    deposit = Deposit.objects.filter(reference=wanted, gateway=GATEWAY).first() if wanted else line.deposit
    if deposit is None:
        raise Invalid("no deposit has this reference", errors=(FieldError("/deposit", "unknown", "no deposit has it"),))
    if deposit.currency != line.currency:
        raise Invalid("this deposit is in another currency", code="wrong_currency")
    return deposit


def _firm(public_id: str) -> Firm:
    firm = Firm.objects.filter(public_id=public_id).first()
    if firm is None:
        raise NotFound("there is no such firm")
    return firm


def _told(booking: ManualBooking) -> dict[str, Any]:
    return {
        "amount_micros": booking.amount_micros,
        "currency": booking.currency,
        "line": booking.line.public_id if booking.line else None,
        "why": booking.reason,
    }


def _require_operator(operator: User) -> None:
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
