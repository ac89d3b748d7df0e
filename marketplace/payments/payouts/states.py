"""States of a payout; the table is the only moves there are."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class PayoutState(models.TextChoices):
    """SENT is in a file for the bank, PAID on its statement. The bank can bring even a paid one back."""

    CREATED = "created", "Asked for"
    SENT = "sent", "Sent to the bank"
    PAID = "paid", "Paid"
    FAILED = "failed", "Failed"


PAYOUT_TRANSITIONS: Mapping[str, frozenset[str]] = {
    PayoutState.CREATED: frozenset({PayoutState.SENT, PayoutState.FAILED}),
    PayoutState.SENT: frozenset({PayoutState.PAID, PayoutState.FAILED}),
    PayoutState.PAID: frozenset({PayoutState.FAILED}),
    PayoutState.FAILED: frozenset(),
}
