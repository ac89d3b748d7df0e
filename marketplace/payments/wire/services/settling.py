"""What a new line of a statement does on the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Deposit
from marketplace.payments.states import DepositState
from marketplace.payments.wire.matching import Announced, credit_match
from marketplace.payments.wire.models import StatementLine
from marketplace.payments.wire.selectors import GATEWAY
from marketplace.payments.wire.states import LineState, Match


def settle_new(lines: Sequence[StatementLine], now: datetime) -> None:
    """Put each new line on the ledger: on suspense, and at once where it belongs when that is certain."""
    for line in lines:
        if line.amount_micros > 0:
            _settle_credit(line, now)
        else:
            _to_suspense(line, now)
            line.save(update_fields=["match"])


def settle_again(now: datetime) -> None:
    """Try what waits once more: the files of a bank may come in any order."""


def clearing_of(currency: str) -> Account:
    """The bank account on the ledger: below zero by what is on it."""
    return account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=GATEWAY)


def suspense_of(currency: str) -> Account:
    """What is at the bank and nobody's yet."""
    return account_for(firm=None, kind=AccountKind.SUSPENSE, currency=currency, ref=GATEWAY)


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


def _settle_credit(line: StatementLine, now: datetime) -> None:
    deposit = _announced(line)
    line.match = credit_match(line.amount_micros, line.currency, _as_announced(deposit))
    line.deposit = deposit if line.match != Match.UNKNOWN else None
    line.save(update_fields=["match", "deposit"])
    if deposit is not None and line.match == Match.EXACT:
        confirm_with(deposit, line, clearing_of(line.currency), actor="system", now=now)
        _booked(line, now)
    elif line.match == Match.BY_HAND:
        _booked(line, now)
    else:
        _to_suspense(line, now)


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


def _to_suspense(line: StatementLine, now: datetime) -> None:
    post(
        ref=f"bank:{line.public_id}",
        code=Code.BANK_MONEY,
        legs=[
            Leg(clearing_of(line.currency), -line.amount_micros),
            Leg(suspense_of(line.currency), line.amount_micros),
        ],
        now=now,
        subject=line.public_id,
        data={"booked_on": line.booked_on.isoformat()},
    )
    record_event(
        firm_id=None,
        type="bank_line.waiting",
        subject=line.public_id,
        reason=str(line.match),
        data={"amount_micros": line.amount_micros, "currency": line.currency},
        now=now,
    )
