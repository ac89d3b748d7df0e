"""States of a statement's line and of what operators book by hand; the tables are the only moves there are."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class LineState(models.TextChoices):
    """WAITING stands on suspense until it is named. RETURNING goes back with the next file for the bank."""

    WAITING = "waiting", "Waits for an operator"
    BOOKED = "booked", "Booked"
    RETURNING = "returning", "Going back"
    RETURNED = "returned", "Sent back"


LINE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    LineState.WAITING: frozenset({LineState.BOOKED, LineState.RETURNING}),
    LineState.BOOKED: frozenset(),
    LineState.RETURNING: frozenset({LineState.RETURNED, LineState.WAITING}),
    LineState.RETURNED: frozenset(),
}


class Match(models.TextChoices):
    """What a line was taken for when it came."""

    EXACT = "exact", "Exactly what was announced"
    BY_HAND = "by_hand", "Confirmed by an operator before"
    PARTIAL = "partial", "Less than was announced"
    OVER = "over", "More than was announced"
    LATE = "late", "Nobody waited for it any more"
    PAYOUT = "payout", "A payout of ours"
    PAYOUT_RETURN = "payout_return", "A payout that came back"
    RETURN = "return", "Money that we sent back"
    UNKNOWN = "unknown", "Unknown"


class BookingState(models.TextChoices):
    """ASKED waits for a second operator."""

    ASKED = "asked", "Waits for another operator"
    DONE = "done", "Done"
    REFUSED = "refused", "Refused"


BOOKING_TRANSITIONS: Mapping[str, frozenset[str]] = {
    BookingState.ASKED: frozenset({BookingState.DONE, BookingState.REFUSED}),
    BookingState.DONE: frozenset(),
    BookingState.REFUSED: frozenset(),
}


class Action(models.TextChoices):
    """What an operator can do by hand with money at the bank."""

    DEPOSIT = "deposit", "Book what came for its deposit"
    FIRM = "firm", "Into a firm's wallet"
    RETURN = "return", "Send it back"
    COST = "cost", "What the bank takes or gives"
    OWN = "own", "The platform's own money"
    DIFFERENCE = "difference", "What the ledger lacks of the bank's balance"
    CONFIRM = "confirm", "Confirm a deposit without a statement"
    PAYOUT_MADE = "payout_made", "A payout that the bank made all the same"
    PAYOUT_FAILED = "payout_failed", "A payout that the bank did not make"
    TRANSIT = "transit", "A payout of Stripe's that arrived"
    OFF_FIRM = "off_firm", "A difference with Stripe: a firm's wallet"
    OFF_COST = "off_cost", "A difference with Stripe: what Stripe takes or gives"
    OFF_OWN = "off_own", "A difference with Stripe: the platform's own money"
