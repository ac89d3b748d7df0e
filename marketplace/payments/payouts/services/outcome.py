"""What the bank made of a payout. The caller holds the payout's lock and a transaction."""

from __future__ import annotations

from datetime import datetime

from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Payout
from marketplace.payments.payouts.states import PayoutState

SYSTEM = "system"


def mark_paid(payout: Payout, *, outside: Account, line_id: str, now: datetime) -> None:
    """A statement shows that the money has left: from the firm's account to `outside`."""
    transition(payout, PayoutState.PAID, now=now, reason="on_statement", data={"line": line_id}, closed_at=now)
    post(
        ref=f"paid:{payout.public_id}",
        code=Code.PAYOUT_PAID,
        legs=[Leg(_leaving(payout), -payout.amount_micros), Leg(outside, payout.amount_micros)],
        now=now,
        subject=payout.public_id,
        data={"line": line_id},
    )


def mark_returned(payout: Payout, *, outside: Account, line_id: str, now: datetime) -> None:
    """What was paid came back: it is earnings again."""
    transition(
        payout,
        PayoutState.FAILED,
        now=now,
        reason="returned_by_bank",
        data={"line": line_id, "amount_micros": payout.amount_micros, "currency": payout.currency},
        closed_at=now,
    )
    _give_back(payout, outside, f"returned:{payout.public_id}", now)
    _remember(payout, "returned_by_bank")


def close_failed(payout: Payout, *, reason: str, now: datetime, actor: str = SYSTEM) -> None:
    """It never left: it is earnings again."""
    transition(
        payout,
        PayoutState.FAILED,
        now=now,
        actor=actor,
        reason=reason,
        data={"amount_micros": payout.amount_micros, "currency": payout.currency},
        closed_at=now,
    )
    _give_back(payout, _leaving(payout), f"unpaid:{payout.public_id}", now)
    _remember(payout, reason)


def _give_back(payout: Payout, source: Account, ref: str, now: datetime) -> None:
    earnings = account_for(firm=payout.firm, kind=AccountKind.EARNINGS, currency=payout.currency)
    post(
        ref=ref,
        code=Code.PAYOUT_RETURN,
        legs=[Leg(source, -payout.amount_micros), Leg(earnings, payout.amount_micros)],
        now=now,
        subject=payout.public_id,
    )


def _remember(payout: Payout, reason: str) -> None:
    payout.reason = reason
    payout.save(update_fields=["reason"])


def _leaving(payout: Payout) -> Account:
    return account_for(firm=payout.firm, kind=AccountKind.PAYOUT, currency=payout.currency)
