"""A payer asks its bank for a deposit back: its money is frozen, evidence is sent, and either end is booked.

The bank takes amount and fee from the platform at once, whoever is right. Until that is settled the payer's wallet and
then its earnings stand in for it, and those of sellers who answer for it (`fraud/shares.py`). What is missing in the
end the reserve bears (`fraud/reserve.py`); the payer owes it, and it is set off against what comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.accounts.models import User
from marketplace.common.errors import Conflict, NotAllowed, NotFound
from marketplace.events.services import keys_of_operator, once, record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for, lock_accounts
from marketplace.ledger.services import Leg, post
from marketplace.payments.debts import give_back, own_accounts, take_owed
from marketplace.payments.entries import book_entry
from marketplace.payments.evidence import evidence_of
from marketplace.payments.fraud import reserve, shares
from marketplace.payments.gateway import GatewayError, Operation, Receipt, Trouble
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit, GatewayCall, PaymentDispute
from marketplace.payments.outbox import enqueue
from marketplace.payments.selectors import disputes_in_force
from marketplace.payments.states import CallState, DepositState, PaymentDisputeState
from marketplace.payments.wire.selectors import check_not_own

STATES = {
    "needs_response": PaymentDisputeState.OPEN,
    "under_review": PaymentDisputeState.ANSWERED,
    "won": PaymentDisputeState.WON,
    "lost": PaymentDisputeState.LOST,
    "appeal_needs_response": PaymentDisputeState.LOST,  # the bank has the money, and may change its mind
    "appeal_under_review": PaymentDisputeState.LOST,
    "prevented": PaymentDisputeState.LOST,  # the payer was paid back before it came to a dispute
}


@transaction.atomic
def dispute_seen(fact: Mapping[str, Any], now: datetime) -> None:
    """What a dispute has come to. A bank that only asks has taken nothing, and nothing happens here."""
    deposit = Deposit.objects.select_for_update(of=("self",)).filter(public_id=fact["deposit_id"]).first()
    if deposit is None or fact["is_inquiry"]:
        return
    if deposit.state != DepositState.CONFIRMED:
        raise GatewayError(Trouble.RETRY, "the payment that is disputed is not booked yet")
    if fact["currency"] != deposit.currency:
        raise GatewayError(Trouble.ASK, f"{fact['dispute_id']} is in {fact['currency']}, not in {deposit.currency}")
    dispute = PaymentDispute.objects.select_for_update().filter(object_id=fact["dispute_id"]).first()
    dispute = dispute or _open(deposit, fact, now)
    for entry in fact["entries"]:
        _book(dispute, entry, now)
    shares.find_linked(dispute, now)
    collect(dispute, now)
    to = STATES[fact["status"]]
    if to != dispute.state and to in dispute.STATES[dispute.state]:
        transition(dispute, to, now=now, reason=dispute.reason)
        _settle(dispute, now)


def _open(deposit: Deposit, fact: Mapping[str, Any], now: datetime) -> PaymentDispute:
    dispute = PaymentDispute.objects.create(
        deposit=deposit,
        object_id=fact["dispute_id"],
        amount_micros=fact["amount_micros"],
        reason=fact["reason"],
        answer_by=fact["answer_by"],
        opened_at=now,
    )
    data = {"amount_micros": dispute.amount_micros, "currency": deposit.currency, "deposit": deposit.public_id}
    for firm_id in (deposit.firm_id, None):
        record_event(
            firm_id=firm_id, type="payment_dispute.open", subject=dispute.public_id, reason=dispute.reason, data=data,
            now=now,
        )  # fmt: skip
    return dispute


def _frozen(dispute: PaymentDispute) -> Account:
    deposit = dispute.deposit
    return account_for(firm=deposit.firm, kind=AccountKind.FROZEN, currency=deposit.currency, ref=dispute.public_id)


def _book(dispute: PaymentDispute, entry: Mapping[str, Any], now: datetime) -> None:
    """What the bank took or gave back, once: the amount is the platform's loss so far, the fee its expense."""
    book_entry(
        gateway=dispute.deposit.gateway,
        entry=entry,
        account=shares.loss_of(dispute),
        code=Code.DISPUTE,
        subject=dispute.public_id,
        now=now,
    )


def collect(dispute: PaymentDispute, now: datetime) -> None:
    """Take what is missing from the payer's wallet, then its earnings, then sellers who answer; lost: into the loss."""
    if dispute.state == PaymentDisputeState.WON or not dispute.missing_micros:
        return
    _lock_all(dispute)
    _collect_from_payer(dispute, now)
    shares.hold(dispute, now)
    reserve.refill(dispute, now)


def _lock_all(dispute: PaymentDispute) -> None:
    """Everything that the dispute can touch, in one order for everybody."""
    deposit = dispute.deposit
    own = [*own_accounts(deposit.firm, deposit.currency), _frozen(dispute)]
    accounts = [*own, *shares.accounts_of(dispute), reserve.reserve_of(deposit.currency)]
    lock_accounts(account.pk for account in accounts)


def _collect_from_payer(dispute: PaymentDispute, now: datetime) -> None:
    lost = dispute.state == PaymentDisputeState.LOST
    taken = take_owed(
        dispute.deposit.firm,
        dispute.missing_micros,
        into=shares.loss_of(dispute) if lost else _frozen(dispute),
        ref=f"dispute:{dispute.public_id}:held:{dispute.held_micros}",
        code=Code.SET_OFF if lost else Code.DISPUTE,
        subject=dispute.public_id,
        now=now,
    )
    dispute.held_micros += taken
    dispute.save(update_fields=["held_micros"])


def _settle(dispute: PaymentDispute, now: datetime) -> None:
    """Won: what was frozen is free again. Lost: it makes good the platform's loss, and then the reserve does."""
    _lock_all(dispute)
    shares.settle(dispute, now)
    reserve.settle(dispute, now)
    frozen, loss = _frozen(dispute), shares.loss_of(dispute)
    micros = frozen.balance_micros
    ref = f"dispute:{dispute.public_id}:{dispute.state}"
    if dispute.state == PaymentDisputeState.WON:
        back = micros or dispute.held_micros  # lost before: what made good the loss comes out of it again
        source, firm = (frozen if micros else loss), dispute.deposit.firm
        give_back(firm, back, out_of=source, ref=ref, code=Code.DISPUTE, subject=dispute.public_id, now=now)
    elif dispute.state == PaymentDisputeState.LOST:
        legs = [Leg(frozen, -micros), Leg(loss, micros)]
        post(ref=ref, code=Code.DISPUTE, legs=legs, subject=dispute.public_id, now=now)


def collect_debts(*, now: datetime) -> int:
    """Set off what payers owe against what they have by now; returns how many disputes were looked at."""
    owing = [each.pk for each in disputes_in_force() if each.missing_micros]
    for pk in owing:
        with transaction.atomic():
            dispute = PaymentDispute.objects.select_related("deposit__firm").select_for_update(of=("self",)).get(pk=pk)
            collect(dispute, now)
    return len(owing)


def submit_evidence(*, operator: User, dispute_id: str, words: str, key: str | None, now: datetime) -> PaymentDispute:
    """Send our records and the operator's words to the bank, once.

    Raises NotAllowed unless `operator` is one, NotFound, and Conflict when it is not open or was answered.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")

    def make() -> str:
        rows = PaymentDispute.objects.select_related("deposit__firm").select_for_update(of=("self",))
        dispute = rows.filter(public_id=dispute_id).first()
        if dispute is None:
            raise NotFound
        check_not_own(operator, dispute.deposit.firm)
        if dispute.state != PaymentDisputeState.OPEN or is_on_its_way(dispute):
            raise Conflict("this dispute is answered already", code="answered")
        _send(dispute, words, operator, now)
        return str(dispute.public_id)

    body = {"evidence": dispute_id, "words": words}
    once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)
    return PaymentDispute.objects.get(public_id=dispute_id)


def is_on_its_way(dispute: PaymentDispute) -> bool:
    return GatewayCall.objects.filter(subject=dispute.public_id).exclude(state=CallState.FAILED).exists()


def _send(dispute: PaymentDispute, words: str, operator: User, now: datetime) -> None:
    enqueue(
        gateway=dispute.deposit.gateway,
        operation=Operation.SUBMIT_EVIDENCE,
        params={"object_id": dispute.object_id, "evidence": evidence_of(dispute, words)},
        subject=dispute.public_id,
        firm=dispute.deposit.firm,
        now=now,
    )
    record_event(
        firm_id=None, type="payment_dispute.evidence_sent", subject=dispute.public_id, actor=operator.public_id, now=now
    )


def evidence_taken(call: GatewayCall, receipt: Receipt, now: datetime) -> None:
    """The bank has it; what the dispute is now is fetched."""
    look_at(call.gateway, "dispute", receipt.object_id, now=now)
