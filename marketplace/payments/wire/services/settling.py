"""What a new line of a statement does on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from marketplace.common.errors import Conflict, Invalid
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, Posting, post, post_many
from marketplace.payments.models import Deposit, Payout
from marketplace.payments.payouts.selectors import payout_by_reference
from marketplace.payments.payouts.services.outcome import mark_paid, mark_returned
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.states import DepositState
from marketplace.payments.wire.matching import Announced, credit_match
from marketplace.payments.wire.models import StatementLine
from marketplace.payments.wire.selectors import GATEWAY, clearing_of, suspense_of
from marketplace.payments.wire.states import LineState, Match


def settle_new(lines: Sequence[StatementLine], now: datetime) -> None:
    """Put each new line on the ledger: on suspense, and at once where it belongs when that is certain."""
    waiting = [line for line in lines if not _settle_ours(line, clearing_of, now) and not _settle_deposit(line, now)]
    known = [line for line in waiting if line.match != Match.UNKNOWN]
    StatementLine.objects.bulk_update(known, ["match", "deposit"], batch_size=500)
    _to_suspense(waiting, now)


def settle_again(now: datetime) -> None:
    """Try what waits of our own payments once more: the files of a bank may come in any order."""
    moved = True
    while moved:
        waiting = StatementLine.objects.filter(
            state=LineState.WAITING, match__in=[Match.PAYOUT, Match.PAYOUT_RETURN, Match.RETURN]
        )
        moved = any([_settle_ours(line, suspense_of, now) for line in waiting.order_by("pk")])


def _settle_ours(line: StatementLine, source_of: Callable[[str], Account], now: datetime) -> bool:
    """Whether the line is one of our own payments leaving or coming back, and was booked as that.

    `source_of` a currency is where the line's money stands: the bank account for a new line, else suspense.
    """
    if not line.reference:
        return False
    source = source_of(line.currency)
    if payout := payout_by_reference(line.reference):
        line.match = Match.PAYOUT if line.amount_micros < 0 else Match.PAYOUT_RETURN
        line.save(update_fields=["match"])
        if line.currency != payout.currency or abs(line.amount_micros) != payout.amount_micros:
            return False
        if line.amount_micros < 0 and payout.state == PayoutState.SENT:
            mark_paid(payout, outside=source, line_id=line.public_id, now=now)
        elif line.amount_micros > 0 and payout.state == PayoutState.PAID:
            mark_returned(payout, outside=source, line_id=line.public_id, now=now)
        else:
            return False
        _booked(line, now)
        return True
    return _settle_return(line, source, now)


def _settle_return(line: StatementLine, source: Account, now: datetime) -> bool:
    """Money of a stranger's that we sent back has left."""
    if line.amount_micros > 0:
        return False
    found = StatementLine.objects.select_for_update(of=("self",)).filter(return_reference=line.reference)
    returned = found.filter(currency=line.currency).first()
    if returned is None:
        return False
    line.match = Match.RETURN
    line.save(update_fields=["match"])
    if returned.state != LineState.RETURNING or returned.amount_micros != -line.amount_micros:
        return False
    if source.kind == AccountKind.CLEARING:
        legs = [
            Leg(suspense_of(line.currency), line.amount_micros),
            Leg(source, -line.amount_micros),
        ]
        post(ref=f"bank:{line.public_id}", code=Code.BANK_MONEY, legs=legs, now=now, subject=returned.public_id)
    transition(returned, LineState.RETURNED, now=now, reason="on_statement", data={"line": line.public_id})
    _booked(line, now)
    return True


def confirm_with(deposit: Deposit, line: StatementLine, source: Account, *, actor: str, now: datetime) -> None:
    """The money of a line is the deposit's: into the wallet from `source`. The deposit is locked by the caller."""
    reason = {Match.LATE: "came_late", Match.PARTIAL: "came_in_part", Match.OVER: "came_with_more"}
    transition(
        deposit,
        DepositState.CONFIRMED,
        now=now,
        actor=actor,
        reason=reason.get(Match(line.match), ""),
        data={"amount_micros": line.amount_micros, "currency": line.currency, "line": line.public_id},
        confirmed_at=now,
        received_micros=line.amount_micros,
    )
    into_wallet(deposit, line, source, f"deposit:{deposit.public_id}", now)


def into_wallet(deposit: Deposit, line: StatementLine, source: Account, ref: str, now: datetime) -> None:
    """Move what a line brought to the firm of a deposit."""
    wallet = account_for(firm=deposit.firm, kind=AccountKind.WALLET, currency=line.currency)
    post(
        ref=ref,
        code=Code.DEPOSIT,
        legs=[Leg(source, -line.amount_micros), Leg(wallet, line.amount_micros)],
        now=now,
        subject=deposit.public_id,
        data={"reference": deposit.reference, "line": line.public_id, "booked_on": line.booked_on.isoformat()},
    )


def payout_named_by(line: StatementLine) -> Payout:
    """The payout, locked, that a waiting debit may have made all the same. Raises Invalid and Conflict for others."""
    payout = payout_by_reference(line.reference)
    if payout is None or payout.currency != line.currency or line.amount_micros > 0:
        raise Invalid("this is no payout of ours", code="no_payout")
    if payout.state not in {PayoutState.SENT, PayoutState.FAILED}:
        raise Conflict(f"this payout is {payout.state}", code="wrong_state")
    return payout


def pay_with(payout: Payout, line: StatementLine, now: datetime) -> None:
    """A waiting debit made this payout, with another amount or after its money was given back, which is taken again.

    What left beside the payout is the bank's. Raises InsufficientFunds when the firm has not got it any more.
    """
    suspense = suspense_of(line.currency)
    if payout.state == PayoutState.SENT:
        mark_paid(payout, outside=suspense, line_id=line.public_id, now=now)
    else:
        earnings = account_for(firm=payout.firm, kind=AccountKind.EARNINGS, currency=line.currency)
        legs = [Leg(earnings, -payout.amount_micros), Leg(suspense, payout.amount_micros)]
        ref = f"bank:{line.public_id}:payout"
        post(ref=ref, code=Code.PAYOUT_PAID, legs=legs, now=now, subject=payout.public_id)
        record_event(
            firm_id=payout.firm_id,
            type="payout.made_after_all",
            subject=payout.public_id,
            data={"amount_micros": payout.amount_micros, "currency": payout.currency, "line": line.public_id},
            now=now,
        )
    rest = -line.amount_micros - payout.amount_micros
    cost = account_for(firm=None, kind=AccountKind.GATEWAY_FEE, currency=line.currency, ref=GATEWAY)
    legs = [Leg(suspense, rest), Leg(cost, -rest)]
    post(ref=f"bank:{line.public_id}:fee", code=Code.GATEWAY_FEE, legs=legs, now=now, subject=payout.public_id)


def _settle_deposit(line: StatementLine, now: datetime) -> bool:
    """Whether the line is exactly what a deposit waits for, or was confirmed before, and needs nobody any more."""
    if line.amount_micros < 0 or line.match != Match.UNKNOWN:
        return False
    deposit = _announced(line)
    line.match = credit_match(line.amount_micros, line.currency, _as_announced(deposit))
    line.deposit = deposit if line.match != Match.UNKNOWN else None
    if deposit is None or line.match not in {Match.EXACT, Match.BY_HAND}:
        return False
    line.save(update_fields=["match", "deposit"])
    if line.match == Match.EXACT:
        confirm_with(deposit, line, clearing_of(line.currency), actor="system", now=now)
    _booked(line, now)
    return True


def _announced(line: StatementLine) -> Deposit | None:
    if not line.reference:
        return None
    found = Deposit.objects.select_for_update(of=("self",)).filter(reference=line.reference, gateway=GATEWAY)
    return found.select_related("firm").first()


def _as_announced(deposit: Deposit | None) -> Announced | None:
    if deposit is None:
        return None
    is_on_statement = deposit.lines.filter(state=LineState.BOOKED).exists()
    return Announced(deposit.currency, deposit.amount_micros, str(deposit.state), is_on_statement)


def _booked(line: StatementLine, now: datetime) -> None:
    transition(line, LineState.BOOKED, now=now, reason=str(line.match))


def _to_suspense(lines: Sequence[StatementLine], now: datetime) -> None:
    accounts = {each: (clearing_of(each), suspense_of(each)) for each in {line.currency for line in lines}}
    post_many(
        [
            Posting(
                ref=f"bank:{line.public_id}",
                code=Code.BANK_MONEY,
                legs=(
                    Leg(accounts[line.currency][0], -line.amount_micros),
                    Leg(accounts[line.currency][1], line.amount_micros),
                ),
                subject=line.public_id,
                data={"booked_on": line.booked_on.isoformat()},
            )
            for line in lines
        ],
        now=now,
    )
