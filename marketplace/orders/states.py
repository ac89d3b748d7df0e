"""States of orders, and why one ends."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class OrderState(models.TextChoices):
    """FILLED goes back to OPEN when its lease fails before it was ever usable and that was not the buyer's doing."""

    OPEN = "open", "Open"
    FILLED = "filled", "Filled"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"
    REJECTED = "rejected", "Rejected"


ORDER_TRANSITIONS: Mapping[str, frozenset[str]] = {
    OrderState.OPEN: frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED}),
    OrderState.FILLED: frozenset({OrderState.OPEN}),
    OrderState.CANCELLED: frozenset(),
    OrderState.EXPIRED: frozenset(),
    OrderState.REJECTED: frozenset(),
}


class OrderReason(models.TextChoices):
    """Why an order is no longer open."""

    BUYER_CANCELLED = "buyer_cancelled", "Cancelled by the buyer"
    OFFER_GONE = "offer_gone", "The offer was taken by somebody else"
    NO_MATCH = "no_match", "Nothing matched at once"
    TIME_OVER = "time_over", "Its time was over"
    NOT_ALLOWED = "not_allowed", "The rules of this exchange no longer allow it"
    PAYMENT_DISPUTED = "payment_disputed", "The payment for it is disputed"
    NOT_MATCHABLE = "not_matchable", "The matcher could not carry it out"


class TimeInForce(models.TextChoices):
    """How long an order stays in the book."""

    IOC = "ioc", "Immediate or cancel"
    FOK = "fok", "Fill or kill"
    GTC = "gtc", "Good till cancelled"
    GTD = "gtd", "Good till date"


ONE_ROUND = frozenset({TimeInForce.IOC, TimeInForce.FOK})
