"""Operators explain differences. What moves money goes by the bookings by hand: above a limit it takes two."""

from __future__ import annotations

from datetime import datetime

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.events.services import keys_of_operator, once
from marketplace.payments.models import ManualBooking
from marketplace.payments.reconciliation.models import Difference
from marketplace.payments.reconciliation.selectors import (
    any_difference,
    asked_about,
    difference_for_update,
    held_micros,
)
from marketplace.payments.reconciliation.services.closing import close
from marketplace.payments.reconciliation.states import DifferenceState
from marketplace.payments.wire.services.booking import ask
from marketplace.payments.wire.states import Action

ACTIONS = (Action.OFF_FIRM, Action.OFF_COST, Action.OFF_OWN)


def explain(
    *, operator: User, difference_id: str, action: str, firm_id: str, reason: str, key: str | None, now: datetime
) -> Difference:
    """Say what a difference is. What suspense holds for it goes where `action` says; without such money, nothing moves.

    Above TWO_PERSON_LIMITS it stays open until another operator agrees. Raises NotAllowed unless `operator` is one,
    NotFound, Conflict when it is not open or was asked about already, and Invalid without a reason or with an action
    that does not fit.
    """
    if not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator does this", code="operators_only")
    reason = reason.strip()
    if not reason:
        raise Invalid("say why", errors=(FieldError("/reason", "required", "say why"),))
    body = {"explain": difference_id, "action": action, "firm": firm_id, "reason": reason}

    def make() -> str:
        difference = difference_for_update(difference_id)
        if difference.state != DifferenceState.OPEN:
            raise Conflict("this difference is closed already", code="wrong_state")
        if asked_about(difference) is not None:
            raise Conflict("another operator was asked about this already", code="asked_already")
        held = held_micros(difference.gateway, [difference.public_id]).get(difference.public_id, 0)
        if held:
            ask(_booking(difference, held, action, firm_id, reason), operator, now)
        else:
            close(difference, operator, reason, now)
        return str(difference.public_id)

    once(firm_id=keys_of_operator(operator.pk), key=key, body=body, now=now, make=make)
    return any_difference(difference_id)


def _booking(difference: Difference, held: int, action: str, firm_id: str, reason: str) -> ManualBooking:
    if action not in ACTIONS:
        raise Invalid("there is no such action", errors=(FieldError("/action", "unknown", "choose one of the list"),))
    booking = ManualBooking(
        action=action, currency=difference.currency, amount_micros=held, subject=difference.public_id, reason=reason
    )
    if action == Action.OFF_FIRM:
        booking.firm = Firm.objects.filter(public_id=firm_id).first()
        if booking.firm is None:
            raise Invalid("there is no such firm", errors=(FieldError("/firm_id", "unknown", "no firm has this id"),))
    return booking
