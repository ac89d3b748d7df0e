"""Reading the tapes. What is read here is public: no firm, no sale, no card."""

from __future__ import annotations

from django.db.models import QuerySet

from marketplace.book.models import CardTrade, Trade


def card_tape(gpu: str) -> QuerySet[CardTrade]:
    """The trades of a model's cards that were not undone."""
    return CardTrade.objects.filter(gpu=gpu, undone_at=None)


def hours_tape(gpu: str) -> QuerySet[Trade]:
    """The trades of a model's hours."""
    return Trade.objects.filter(gpu=gpu)


def last_sale(gpu: str, *, memory_mib: int, currency: str) -> CardTrade | None:
    """The last card of a kind whose money was released."""
    done = CardTrade.objects.filter(gpu=gpu, memory_mib=memory_mib, currency=currency, delivered_at__isnull=False)
    return done.order_by("-delivered_at", "-pk").first()
