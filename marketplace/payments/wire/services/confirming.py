"""An operator says that a wire is there, without a statement."""

from __future__ import annotations

from datetime import datetime

from marketplace.accounts.models import User
from marketplace.events.transitions import transition
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Deposit
from marketplace.payments.states import DepositState


def confirm_by_hand(deposit: Deposit, operator: User, now: datetime) -> None:
    """Move the announced amount from outside into the wallet. The caller holds the deposit's lock."""
    transition(
        deposit,
        DepositState.CONFIRMED,
        now=now,
        actor=operator.public_id,
        reason="" if deposit.state == DepositState.CREATED else "came_late",
        data={"amount_micros": deposit.amount_micros, "currency": deposit.currency},
        confirmed_at=now,
        confirmed_by=operator,
    )
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency=deposit.currency, ref=deposit.gateway)
    wallet = account_for(firm=deposit.firm, kind=AccountKind.WALLET, currency=deposit.currency)
    post(
        ref=f"deposit:{deposit.public_id}",
        code=Code.DEPOSIT,
        legs=[Leg(outside, -deposit.amount_micros), Leg(wallet, deposit.amount_micros)],
        now=now,
        subject=deposit.public_id,
        data={"reference": deposit.reference},
    )
