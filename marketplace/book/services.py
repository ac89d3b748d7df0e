"""Writing to the inbox and to the tape of cards."""

from __future__ import annotations

from datetime import datetime

from marketplace.book.models import CardTrade, InboxMessage, MessageKind


def send(*, kind: MessageKind, subject: str, now: datetime) -> InboxMessage:
    """Put a message into the matcher's inbox; call it inside the transaction that makes it true."""
    return InboxMessage.objects.create(kind=kind, subject=subject, created_at=now)


def print_delivery(*, sale: str, now: datetime) -> None:
    """The card of this trade is with its buyer and paid."""
    CardTrade.objects.filter(sale=sale).update(delivered_at=now)


def print_undoing(*, sale: str, now: datetime) -> None:
    """Nothing came of this trade."""
    CardTrade.objects.filter(sale=sale).update(undone_at=now)
