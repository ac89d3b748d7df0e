"""Writing to the inbox."""

from __future__ import annotations

from datetime import datetime

from marketplace.book.models import InboxMessage, MessageKind


def send(*, kind: MessageKind, subject: str, now: datetime, actor: str = "system") -> InboxMessage:
    """Put a message into the matcher's inbox; call it inside the transaction that makes it true."""
    return InboxMessage.objects.create(kind=kind, subject=subject, actor=actor, created_at=now)
