"""States of a difference, of a run and of the platform's payouts; the tables are the only moves there are."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models

from marketplace.payments.reconciliation.core import Kind


class DifferenceState(models.TextChoices):
    """OPEN is red. GONE was not found any more; EXPLAINED was closed by an operator, with a reason."""

    OPEN = "open", "Open"
    GONE = "gone", "Gone by itself"
    EXPLAINED = "explained", "Explained"


DIFFERENCE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    DifferenceState.OPEN: frozenset({DifferenceState.GONE, DifferenceState.EXPLAINED}),
    DifferenceState.GONE: frozenset(),
    DifferenceState.EXPLAINED: frozenset(),
}


class RunState(models.TextChoices):
    """ASKED is read and compared by the next ticks."""

    ASKED = "asked", "Waiting"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


RUN_TRANSITIONS: Mapping[str, frozenset[str]] = {
    RunState.ASKED: frozenset({RunState.DONE, RunState.FAILED}),
    RunState.DONE: frozenset(),
    RunState.FAILED: frozenset(),
}


class PlatformPayoutState(models.TextChoices):
    """SENT and PAID are on their way as far as we know; ARRIVED is on the bank's statement."""

    SENT = "sent", "On its way"
    PAID = "paid", "Paid, says the gateway"
    ARRIVED = "arrived", "Arrived"
    FAILED = "failed", "Came back"


PLATFORM_PAYOUT_TRANSITIONS: Mapping[str, frozenset[str]] = {
    PlatformPayoutState.SENT: frozenset(
        {PlatformPayoutState.PAID, PlatformPayoutState.ARRIVED, PlatformPayoutState.FAILED}
    ),
    PlatformPayoutState.PAID: frozenset({PlatformPayoutState.ARRIVED, PlatformPayoutState.FAILED}),
    PlatformPayoutState.ARRIVED: frozenset(),
    PlatformPayoutState.FAILED: frozenset(),
}

KIND_WORDS: Mapping[Kind, str] = {
    Kind.NOT_BOOKED: "In the gateway's books, not in the ledger",
    Kind.NOT_THERE: "In the ledger, not in the gateway's books",
    Kind.AMOUNT: "Another amount",
    Kind.FEE: "Another fee",
    Kind.CURRENCY: "Another currency",
    Kind.TWICE: "Booked twice",
    Kind.CHANGED: "The gateway tells another entry than before",
    Kind.PAYOUT: "A payout is not the sum of its entries",
    Kind.TRANSIT: "What is on its way to the bank",
    Kind.BALANCE: "The gateway's balance is not the sum of its entries",
    Kind.OVERTAKEN: "Booked by hand, and settled otherwise after that",
}
KIND_CHOICES = [(kind.value, words) for kind, words in KIND_WORDS.items()]
