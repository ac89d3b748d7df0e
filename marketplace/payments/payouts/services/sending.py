"""What operators do with payouts: approve them, order them at the bank, say that one did not happen."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.events.services import keys_of_operator, once, record_event
from marketplace.events.transitions import transition
from marketplace.payments.models import ManualBooking, Payout, PayoutApproval, PayoutFile
from marketplace.payments.payouts.pain001 import Party, Transfer, payment_order
from marketplace.payments.payouts.sealing import unsealed
from marketplace.payments.payouts.selectors import (
    any_file,
    approvals_missing,
    lines_to_return,
    payout_for_update,
    sendable,
)
from marketplace.payments.payouts.services.outcome import close_failed
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.wire.selectors import any_booking, check_not_own, own_account
from marketplace.payments.wire.services.booking import ask
from marketplace.payments.wire.states import Action


@transaction.atomic
def approve_payout(*, operator: User, payout_id: str, now: datetime) -> Payout:
    """One operator says that it may leave. Raises NotAllowed, NotFound, and Conflict for who did so already."""
    _require_operator(operator)
    payout = payout_for_update(payout_id)
    if payout.state != PayoutState.CREATED:
        raise Conflict(f"this payout is {payout.state}", code="wrong_state")
    _check_not_theirs(operator, payout)
    if not approvals_missing(payout):
        return payout
    _, is_new = PayoutApproval.objects.get_or_create(payout=payout, operator=operator, defaults={"at": now})
    if not is_new:
        raise Conflict("another operator must approve it too", code="second_operator_needed")
    _tell("payout.approved", payout.public_id, operator, now, amount_micros=payout.amount_micros)
    return payout


@transaction.atomic
def reject_payout(*, operator: User, payout_id: str, reason: str, now: datetime) -> Payout:
    """It may not leave: it is earnings again. Raises NotAllowed, NotFound, Conflict, and Invalid without a reason."""
    _require_operator(operator)
    payout = payout_for_update(payout_id)
    if not reason.strip():
        raise Invalid("say why", errors=(FieldError("/reason", "required", "say why"),))
    if payout.state != PayoutState.CREATED:
        raise Conflict(f"this payout is {payout.state}", code="wrong_state")
    check_not_own(operator, payout.firm)
    close_failed(payout, reason="rejected", actor=operator.public_id, now=now)
    _tell("payout.rejected", payout.public_id, operator, now, why=reason.strip()[:500])
    return payout


def order_payouts(*, operator: User, currency: str, key: str | None, now: datetime) -> PayoutFile:
    """A file for the bank with all that is approved, and all that goes back to its sender: they are SENT.

    Raises NotAllowed, Conflict when nothing is to be sent, and what `once` raises.
    """
    _require_operator(operator)

    def make() -> str:
        payouts, lines = sendable(currency), list(lines_to_return(currency).select_for_update(of=("self",)))
        if not payouts and not lines:
            raise Conflict("nothing is approved in this currency", code="nothing_to_send")
        if not own_account(currency):
            raise Conflict("set WIRE_IBAN or WIRE_ACCOUNTS first", code="no_own_account")
        file = PayoutFile.objects.create(currency=currency, made_by=operator, made_at=now)
        for payout in payouts:
            transition(payout, PayoutState.SENT, now=now, actor=operator.public_id, file=file, sent_at=now)
        for line in lines:
            line.return_file = file
            line.save(update_fields=["return_file"])
        _tell("payout_file.made", file.public_id, operator, now, payouts=len(payouts), returns=len(lines))
        return str(file.public_id)

    body = {"order": currency}
    return any_file(once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)[0])


@transaction.atomic
def file_bytes(*, operator: User, file_id: str, now: datetime) -> bytes:
    """The file itself, the same at each call; that somebody took it is in the audit log.

    Raises NotAllowed, NotFound, and Conflict once a payment of it has failed: the bank would make it after all.
    """
    _require_operator(operator)
    file = any_file(file_id)
    if file.payouts.filter(state=PayoutState.FAILED).exists():
        raise Conflict(
            "a payment of this file failed and its money is the firm's again: it may not go to the bank any more",
            code="file_is_void",
        )
    payouts = file.payouts.select_related("bank_details", "firm").order_by("pk")
    transfers = [_transfer(each) for each in payouts]
    for line in file.lines.order_by("pk"):
        to = Party(line.name or "Unnamed", line.account)
        transfers.append(Transfer(line.return_reference or "", line.amount_micros, to, "Returned: not ours"))
    _tell("payout_file.taken", file.public_id, operator, now)
    return payment_order(
        message_id=file.public_id,
        made_at=file.made_at,
        execute_on=file.made_at.date(),
        sender=Party(
            settings.WIRE_ACCOUNT_HOLDER or settings.PLATFORM_NAME, own_account(file.currency), settings.WIRE_BIC
        ),
        currency=file.currency,
        transfers=transfers,
    )


def fail_payout(*, operator: User, payout_id: str, reason: str, key: str | None, now: datetime) -> ManualBooking:
    """The bank did not make a payout that was sent: its money is earnings again; above the limit two operators say so.

    Raises NotAllowed, NotFound, Invalid without a reason, and Conflict when it was not sent or was asked about.
    """
    _require_operator(operator)
    if not reason.strip():
        raise Invalid("say why", errors=(FieldError("/reason", "required", "say why"),))

    def make() -> str:
        payout = payout_for_update(payout_id)
        if payout.state != PayoutState.SENT:
            raise Conflict(f"this payout is {payout.state}", code="wrong_state")
        if ManualBooking.objects.filter(subject=payout_id, state="asked").exists():
            raise Conflict("another operator was asked already", code="asked_already")
        booking = ManualBooking(
            action=Action.PAYOUT_FAILED,
            currency=payout.currency,
            amount_micros=payout.amount_micros,
            firm=payout.firm,
            subject=payout_id,
            reason=reason.strip()[:500],
        )
        return str(ask(booking, operator, now).public_id)

    body = {"fail": payout_id, "reason": reason}
    return any_booking(once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)[0])


def _check_not_theirs(operator: User, payout: Payout) -> None:
    """Whoever asked for it or named its account does not approve it either, a member of the firm any more or not."""
    check_not_own(operator, payout.firm)
    asked = Event.objects.filter(type="payout.created", subject=payout.public_id, actor=operator.public_id)
    if payout.bank_details.created_by_id == operator.pk or asked.exists():
        raise NotAllowed("you asked for it or named its account: another operator approves it", code="own_payout")


def _transfer(payout: Payout) -> Transfer:
    details = payout.bank_details
    to = Party(details.holder, unsealed(bytes(details.sealed_account)), details.bic)
    return Transfer(payout.reference, payout.amount_micros, to, f"{settings.PLATFORM_NAME} {payout.public_id}")


def _tell(type: str, subject: str, operator: User, now: datetime, **data: object) -> None:
    record_event(firm_id=None, type=type, subject=subject, actor=operator.public_id, data=data, now=now)


def _require_operator(operator: User) -> None:
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
