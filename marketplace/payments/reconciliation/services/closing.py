"""What an operator says that a difference is: its money leaves suspense for where it belongs."""

from __future__ import annotations

from datetime import datetime

from marketplace.accounts.models import User
from marketplace.common.errors import Conflict
from marketplace.events.transitions import transition
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import ManualBooking
from marketplace.payments.reconciliation.models import Difference
from marketplace.payments.reconciliation.selectors import difference_for_update, held_micros, suspense_of
from marketplace.payments.reconciliation.states import DifferenceState
from marketplace.payments.wire.states import Action


def close_with(booking: ManualBooking, operator: User, now: datetime) -> None:
    """Carry a booking out: suspense gives what it holds, or gets what it lacks, and the difference is explained.

    Raises Conflict when the difference is not open any more or is about another amount by now.
    """
    difference = difference_for_update(booking.subject)
    held = held_micros(difference.gateway, [difference.public_id]).get(difference.public_id, 0)
    if difference.state != DifferenceState.OPEN or held != booking.amount_micros:
        raise Conflict("this difference is another one by now: look again", code="wrong_state")
    post(
        ref=f"reconciliation:{difference.public_id}:{booking.public_id}",
        code=Code.RECONCILIATION,
        legs=[
            Leg(suspense_of(difference.gateway, difference.currency), -held),
            Leg(_target(booking, difference), held),
        ],
        now=now,
        subject=difference.public_id,
        data={"booking": booking.public_id, "reason": booking.reason, "operator": operator.public_id},
    )
    close(difference, operator, booking.reason, now)


def close(difference: Difference, operator: User, reason: str, now: datetime) -> None:
    """An operator has explained it; the caller holds its lock."""
    transition(
        difference, DifferenceState.EXPLAINED, now=now, actor=operator.public_id, reason=difference.kind,
        data={"subject": difference.subject, "currency": difference.currency, "off_micros": difference.off_micros,
              "why": reason},
        closed_at=now, closed_by=operator, explanation=reason,
    )  # fmt: skip


def _target(booking: ManualBooking, difference: Difference) -> Account:
    if booking.action == Action.OFF_FIRM:
        return account_for(firm=booking.firm, kind=AccountKind.WALLET, currency=difference.currency)
    if booking.action == Action.OFF_COST:
        kind = AccountKind.GATEWAY_FEE
        return account_for(firm=None, kind=kind, currency=difference.currency, ref=difference.gateway)
    return account_for(firm=None, kind=AccountKind.OWN, currency=difference.currency)
