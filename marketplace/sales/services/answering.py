"""A card that nobody received, paid with money that its buyer took back at the bank: its seller answers for it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from marketplace.payments.fraud.models import ShareReason
from marketplace.payments.fraud.shares import make_answer, sellers_paid
from marketplace.payments.models import PaymentDispute
from marketplace.payments.selectors import disputes_in_force
from marketplace.sales.models import Sale


def answer_for_undelivered(*, now: datetime) -> int:
    """Look at what each disputed payment was spent on; returns how many sales were found that brought nothing.

    Hours of leases are charged only as far as they were proved, so they were delivered.
    """
    return sum(_answer(dispute, now) for dispute in disputes_in_force())


@transaction.atomic
def _answer(dispute: PaymentDispute, now: datetime) -> int:
    paid = {subject: (seller, micros) for seller, subject, micros in sellers_paid(dispute, now)}
    lost = Sale.objects.filter(public_id__in=paid, received_at=None).order_by("pk")
    for sale in lost:
        seller, micros = paid[sale.public_id]
        said = f"{sale.public_id} was {sale.get_state_display().lower()}, and nobody said that the card was received"
        make_answer(dispute, seller, ShareReason.NOT_DELIVERED, micros, [said], now)
    return len(lost)
