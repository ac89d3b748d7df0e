"""What our own records say of a disputed deposit, in the fields of https://docs.stripe.com/disputes/responding."""

from __future__ import annotations

from marketplace.accounts.models import Membership
from marketplace.common.money import format_micros
from marketplace.events.models import Event
from marketplace.ledger.models import Code, Entry
from marketplace.payments.models import PaymentDispute

LINES_MAX = 200  # all evidence together may have 150 000 characters
LABELS = dict(Code.choices)


def evidence_of(dispute: PaymentDispute, words: str) -> dict[str, str]:
    """Field to text: who paid, for what, and what was done with the money, from the ledger and the audit log."""
    deposit = dispute.deposit
    member = Membership.objects.filter(firm=deposit.firm).select_related("user").order_by("pk").first()
    found = {
        "customer_name": deposit.firm.name,
        "customer_email_address": member.user.email if member else "",
        "product_description": (
            f"Prepaid balance of {format_micros(deposit.amount_micros, 2)} {deposit.currency}, reference "
            f"{deposit.reference}, to be spent on hours of GPUs and on used cards."
        ),
        "service_date": f"{deposit.confirmed_at or deposit.created_at:%Y-%m-%d}",
        "access_activity_log": "\n".join([*_said(dispute), *_spent(dispute)]),
        "uncategorized_text": words,
    }
    return {field: text for field, text in found.items() if text}


def _said(dispute: PaymentDispute) -> list[str]:
    """What was done to the deposit, and by whom."""
    events = Event.objects.filter(subject=dispute.deposit.public_id).order_by("pk")[:LINES_MAX]
    return [f"{event.at:%Y-%m-%d %H:%M:%S} UTC {event.type} by {event.actor}" for event in events]


def _spent(dispute: PaymentDispute) -> list[str]:
    """What the payer's money was spent on since."""
    deposit = dispute.deposit
    spent = Entry.objects.filter(
        account__firm=deposit.firm, account__currency=deposit.currency, amount_micros__lt=0,
        journal__at__gte=deposit.created_at,
    ).exclude(journal__code=Code.DISPUTE)  # fmt: skip
    return [
        f"{entry.journal.at:%Y-%m-%d %H:%M:%S} UTC {LABELS[entry.journal.code]} {entry.journal.subject} "
        f"{format_micros(-entry.amount_micros)} {entry.currency}"
        for entry in spent.select_related("journal").order_by("pk")[:LINES_MAX]
    ]
