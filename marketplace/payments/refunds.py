"""Deposits back to the instrument that they came from: the payer's own money, or a seller's who was paid with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Sum

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.common.money import format_micros
from marketplace.events.services import keys_of_operator, once, record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros, lock_accounts
from marketplace.ledger.services import InsufficientFunds, Leg, post
from marketplace.payments.entries import book_entry
from marketplace.payments.fraud.seasoning import left_in_wallet_micros
from marketplace.payments.gateway import GatewayError, Operation, Receipt, Trouble
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit, DepositRefund, GatewayCall
from marketplace.payments.outbox import enqueue
from marketplace.payments.outside_refunds import came_back, collect, loss_of, made_outside
from marketplace.payments.selectors import any_deposit, deposit_for_update, deposit_of, gateway_named, refuse_debtors
from marketplace.payments.states import DepositState, PaymentDisputeState, TransferState
from marketplace.payments.transfers import take_back
from marketplace.payments.wire.selectors import check_not_own


def refundable_micros(deposit: Deposit) -> int:
    """What of a deposit has not gone back yet, nor is on its way."""
    back = deposit.refunds.exclude(state=TransferState.FAILED).aggregate(sum=Sum("amount_micros"))["sum"] or 0
    return max(0, deposit.amount_micros - back)


def returnable_micros(deposit: Deposit, now: datetime) -> int:
    """What the firm can send back to its card: what is left of that deposit in its wallet.

    Other money goes back only to where it came from, so it can't make up for what was spent.
    """
    if not deposit.payment_id or deposit.state != DepositState.CONFIRMED:
        return 0
    return min(refundable_micros(deposit), left_in_wallet_micros(deposit, now))


def refund_deposit(
    *, firm: Firm, deposit_id: str, amount_micros: int, key: str | None, now: datetime, actor: str
) -> tuple[DepositRefund, bool]:
    """Send a part of a deposit back out of the firm's wallet; returns the refund and whether it is new.

    Raises NotFound, Conflict for a deposit that can't be refunded or not by so much and for a firm that owes, Invalid
    for an amount between two coins, and InsufficientFunds when the wallet has less of that deposit's money.
    """
    deposit = deposit_of(firm, deposit_id)

    def make() -> str:
        refuse_debtors(firm)
        return str(_begin(deposit, None, amount_micros, actor, now).public_id)

    body = {"refund": {"deposit": deposit_id, "amount_micros": amount_micros}}
    public_id, is_new = once(firm_id=firm.pk, key=key, body=body, now=now, make=make)
    return DepositRefund.objects.get(public_id=public_id), is_new


def refund_from_seller(
    *, operator: User, deposit_id: str, seller: Firm, amount_micros: int, key: str | None, now: datetime
) -> DepositRefund:
    """Send a part of a deposit back to its payer out of what a seller got: earnings first, then transfers taken back.

    A refund takes nothing back from a seller's account by itself, so that comes first: two calls in order. Raises
    NotAllowed unless `operator` is one, and as `refund_deposit`.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
    deposit = any_deposit(deposit_id)
    for firm in (deposit.firm, seller):
        check_not_own(operator, firm)

    def make() -> str:
        return str(_begin(deposit, seller, amount_micros, operator.public_id, now).public_id)

    body = {"refund": {"deposit": deposit_id, "seller": seller.public_id, "amount_micros": amount_micros}}
    public_id, _ = once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)
    return DepositRefund.objects.get(public_id=public_id)


def _begin(deposit: Deposit, seller: Firm | None, amount_micros: int, actor: str, now: datetime) -> DepositRefund:
    deposit = deposit_for_update(deposit.public_id)
    _check(deposit, amount_micros)
    refund = DepositRefund.objects.create(deposit=deposit, seller=seller, amount_micros=amount_micros, created_at=now)
    after = _reserve(refund, now)
    params = {
        "payment_id": deposit.payment_id,
        "currency": deposit.currency,
        "amount_micros": amount_micros,
    }
    enqueue(
        gateway=deposit.gateway,
        operation=Operation.REFUND,
        params=params,
        subject=refund.public_id,
        firm=deposit.firm,
        after=after,
        now=now,
    )
    data = {"amount_micros": amount_micros, "currency": deposit.currency, "deposit": deposit.public_id}
    for firm_id in refund.event_firm_ids if seller is None else [*refund.event_firm_ids, None]:
        record_event(
            firm_id=firm_id, type="deposit_refund.created", subject=refund.public_id, actor=actor, data=data, now=now
        )
    return refund


def _check(deposit: Deposit, amount_micros: int) -> None:
    can = gateway_named(deposit.gateway).capabilities()
    if deposit.state != DepositState.CONFIRMED or Operation.REFUND not in can.operations:
        raise Conflict("this deposit can't be sent back", code="not_refundable")
    if deposit.disputes.exclude(state=PaymentDisputeState.WON).exists():
        raise Conflict("the payer's bank has this deposit already, or asks for it", code="disputed")
    if amount_micros <= 0 or amount_micros % can.ticks_micros[deposit.currency]:
        error = FieldError("/amount", "tick", "give a multiple of the currency's smallest unit")
        raise Invalid("the amount is not a positive multiple of the smallest unit", code="bad_amount", errors=(error,))
    if amount_micros > refundable_micros(deposit):
        raise Conflict("so much of this deposit is not left to send back", code="more_than_left")


def _reserve(refund: DepositRefund, now: datetime) -> GatewayCall | None:
    """Put the money aside; returns the call that has to come before the refund, when a seller's account has it."""
    deposit, seller = refund.deposit, refund.seller
    if seller is None:
        _check_not_spent(refund, now)
        _put_aside(refund, AccountKind.WALLET, deposit.firm, refund.amount_micros, now)
        return None
    earned = account_for(firm=seller, kind=AccountKind.EARNINGS, currency=deposit.currency)
    lock_accounts([earned.pk])
    has = balance_micros(firm=seller, kind=AccountKind.EARNINGS, currency=deposit.currency)
    tick = gateway_named(deposit.gateway).capabilities().ticks_micros[deposit.currency]
    part = min(has - has % tick, refund.amount_micros)  # what is taken back must be whole coins as well
    if part:
        _put_aside(refund, AccountKind.EARNINGS, seller, part, now)
    more, into = refund.amount_micros - part, (deposit.firm, refund.public_id)
    left, last = take_back(seller, deposit.currency, more, into=into, now=now)
    if left:
        raise Conflict("the seller has not got so much, nor was it sent so much", code="more_than_left")
    return last


def _check_not_spent(refund: DepositRefund, now: datetime) -> None:
    lock_accounts([_owner(refund).pk])
    left = left_in_wallet_micros(refund.deposit, now)
    if left < refund.amount_micros:
        said = f"{format_micros(left, places=2)} {refund.deposit.currency}"
        raise InsufficientFunds(f"{said} of this deposit is left in the wallet: the rest was spent")


def _aside(refund: DepositRefund) -> Account:
    deposit = refund.deposit
    return account_for(firm=deposit.firm, kind=AccountKind.PAYOUT, currency=deposit.currency, ref=refund.public_id)


def _put_aside(refund: DepositRefund, kind: AccountKind, firm: Firm, micros: int, now: datetime) -> None:
    own = account_for(firm=firm, kind=kind, currency=refund.deposit.currency)
    _post(refund, "asked", [Leg(own, -micros), Leg(_aside(refund), micros)], now)


def _post(refund: DepositRefund, what: str, legs: list[Leg], now: datetime) -> None:
    ref = f"refund:{refund.public_id}:{what}"
    post(ref=ref, code=Code.DEPOSIT_REFUND, legs=legs, subject=refund.deposit.public_id, now=now)


def _refund_for_update(**by: str) -> DepositRefund | None:
    rows = DepositRefund.objects.select_related("deposit__firm", "seller").select_for_update(of=("self",))
    return rows.filter(**by).first()


def refund_taken(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The gateway has taken it on; what it came to is fetched."""
    refund = _refund_for_update(public_id=call.subject)
    assert refund is not None
    transition(refund, TransferState.SENT, now=now, object_id=receipt.object_id)
    look_at(call.gateway, "refund", receipt.object_id, now=now)


def refund_refused(call: GatewayCall, refusal: GatewayError, now: datetime) -> None:
    """It did not leave: the money goes back to whose it was."""
    refund = _refund_for_update(public_id=call.subject)
    assert refund is not None
    transition(refund, TransferState.FAILED, now=now, reason=refusal.code)
    _give_back(refund, now)


def _give_back(refund: DepositRefund, now: datetime) -> None:
    aside = _aside(refund)
    lock_accounts([aside.pk])
    aside.refresh_from_db()
    owner = _owner(refund)
    _post(refund, "refused", [Leg(aside, -aside.balance_micros), Leg(owner, aside.balance_micros)], now)


def _owner(refund: DepositRefund) -> Account:
    kind = AccountKind.WALLET if refund.seller is None else AccountKind.EARNINGS
    return account_for(firm=refund.seller or refund.deposit.firm, kind=kind, currency=refund.deposit.currency)


@transaction.atomic
def refund_seen(fact: Mapping[str, Any], now: datetime) -> None:
    """What a refund has come to: out of the books with it once, and in again when the bank sent it back."""
    refund = _refund_for_update(object_id=fact["refund_id"]) or made_outside(fact, now)
    if refund is None or refund.state == TransferState.FAILED:
        return
    entry, back = fact["entry"], fact["came_back"]
    if entry is not None:
        leaves = loss_of(refund) if refund.is_from_outside else _aside(refund)
        _book(refund, entry, -refund.amount_micros, leaves, now)
    if fact["status"] == "succeeded" and refund.state == TransferState.SENT:
        transition(refund, TransferState.PAID, now=now)
    elif fact["status"] in {"failed", "canceled"}:
        if entry is not None and back is None:
            raise GatewayError(Trouble.RETRY, "what came back is not in the gateway's books yet")
        transition(refund, TransferState.FAILED, now=now, reason="sent_back_by_the_bank")
        if back is None:
            _give_back(refund, now)
        else:
            returns_to = loss_of(refund) if refund.is_from_outside else _owner(refund)
            _book(refund, back, refund.amount_micros, returns_to, now)
        if refund.is_from_outside:
            came_back(refund, now)
    if refund.is_from_outside:
        collect(refund, Code.DEPOSIT_REFUND, now)


def _book(refund: DepositRefund, entry: Mapping[str, Any], amount_micros: int, account: Account, now: datetime) -> None:
    if entry["amount_micros"] != amount_micros:
        raise GatewayError(Trouble.ASK, f"{refund.public_id} moved {entry['amount_micros']}, not {amount_micros}")
    deposit = refund.deposit
    book_entry(
        gateway=deposit.gateway,
        entry=entry,
        account=account,
        code=Code.DEPOSIT_REFUND,
        subject=deposit.public_id,
        now=now,
    )
