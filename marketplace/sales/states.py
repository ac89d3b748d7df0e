"""States of card bids and sales, and why each ends."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class BidState(models.TextChoices):
    """FILLED when every card that it wants is agreed."""

    OPEN = "open", "Open"
    FILLED = "filled", "Filled"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"
    REJECTED = "rejected", "Rejected"


BID_TRANSITIONS: Mapping[str, frozenset[str]] = {
    BidState.OPEN: frozenset({BidState.FILLED, BidState.CANCELLED, BidState.EXPIRED, BidState.REJECTED}),
    BidState.FILLED: frozenset(),
    BidState.CANCELLED: frozenset(),
    BidState.EXPIRED: frozenset(),
    BidState.REJECTED: frozenset(),
}


class BidReason(models.TextChoices):
    """Why a bid is no longer open."""

    BUYER_CANCELLED = "buyer_cancelled", "Cancelled by the buyer"
    TIME_OVER = "time_over", "Its time was over"
    NOT_ALLOWED = "not_allowed", "The rules of this exchange do not allow it"
    PAYMENT_DISPUTED = "payment_disputed", "The payment for it is disputed"


class PurchaseState(models.TextChoices):
    """Of a purchase that a card pays: WAITING for the money, with nothing held for the buyer until it is there."""

    WAITING = "waiting", "Waiting for the payment"
    BOUGHT = "bought", "Bought"
    NOT_BOUGHT = "not_bought", "Not bought"


PURCHASE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    PurchaseState.WAITING: frozenset({PurchaseState.BOUGHT, PurchaseState.NOT_BOUGHT}),
    PurchaseState.BOUGHT: frozenset(),
    PurchaseState.NOT_BOUGHT: frozenset(),
}


class SaleState(models.TextChoices):
    """AGREED binds both; from PAID on the money is held; the last four are the ends."""

    AGREED = "agreed", "Agreed"
    PAID = "paid", "Paid, money held"
    SHIPPED = "shipped", "Shipped"
    RECEIVED = "received", "Received"
    INSPECTING = "inspecting", "Being inspected"
    DISPUTED = "disputed", "Disputed"
    RETURNING = "returning", "Being returned"
    RELEASED = "released", "Released to the seller"
    SPLIT = "split", "Split"
    REFUNDED = "refunded", "Refunded"
    CANCELLED = "cancelled", "Cancelled"


# More moves than the drawing of a sale's life has: a silence must be able to end every state (see `silence.py`).
SALE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    SaleState.AGREED: frozenset({SaleState.PAID, SaleState.CANCELLED}),
    SaleState.PAID: frozenset({SaleState.SHIPPED, SaleState.CANCELLED}),
    SaleState.SHIPPED: frozenset({SaleState.RECEIVED, SaleState.DISPUTED, SaleState.REFUNDED}),
    SaleState.RECEIVED: frozenset({SaleState.INSPECTING}),
    SaleState.INSPECTING: frozenset({SaleState.RELEASED, SaleState.DISPUTED}),
    SaleState.DISPUTED: frozenset({SaleState.RELEASED, SaleState.SPLIT, SaleState.REFUNDED, SaleState.RETURNING}),
    SaleState.RETURNING: frozenset({SaleState.REFUNDED, SaleState.DISPUTED, SaleState.RELEASED}),
    SaleState.RELEASED: frozenset(),
    SaleState.SPLIT: frozenset(),
    SaleState.REFUNDED: frozenset(),
    SaleState.CANCELLED: frozenset(),
}
ENDS = frozenset(state for state, onwards in SALE_TRANSITIONS.items() if not onwards)
HOLDS_MONEY = frozenset(SALE_TRANSITIONS) - ENDS
NOTHING_CAME_OF_IT = frozenset({SaleState.REFUNDED, SaleState.CANCELLED})


class Route(models.TextChoices):
    """How the card travels."""

    DIRECT = "direct", "Straight to the buyer"
    LAB = "lab", "Through a lab, which measures it"


class SaleReason(models.TextChoices):
    """Why a sale moved on."""

    SAME_CARD = "same_card", "The buyer measured the same card"
    ACCEPTED = "accepted", "The buyer accepted it"
    WINDOW_OVER = "window_over", "The time for inspection was over"
    NOT_SHIPPED = "not_shipped", "The seller did not ship in time"
    COMPLIANCE_BLOCK = "compliance_block", "The rules do not allow it"
    COMPLIANCE_SILENT = "compliance_silent", "Nobody cleared it in time"
    ADDRESS_SILENT = "address_silent", "The buyer did not correct the address"
    DELIVERY_UNPROVEN = "delivery_unproven", "Nobody proved that it arrived"
    OTHER_CARD = "other_card", "What was measured is not what was sold"
    LAB_SILENT = "lab_silent", "The lab did not answer"
    BUYER_DISPUTES = "buyer_disputes", "The buyer disputes it"
    SELLER_DISPUTES = "seller_disputes", "The seller disputes what came back"
    OPERATOR_RULED = "operator_ruled", "An operator ruled"
    OPERATOR_SILENT = "operator_silent", "No operator ruled in time"
    NOT_SENT_BACK = "not_sent_back", "The buyer did not send it back"
    RETURN_UNPROVEN = "return_unproven", "Nobody proved that it came back"
    CAME_BACK = "came_back", "It came back as it was"
    NOT_LOOKED_AT = "not_looked_at", "The seller did not look at what came back"
    HELD_TOO_LONG = "held_too_long", "Money is held for 60 days at most"


class Ruling(models.TextChoices):
    """What an operator can decide."""

    RELEASE = "release", "The seller gets the money"
    REFUND = "refund", "The buyer gets the money back"
    SPLIT = "split", "Each gets a part"
    RETURN = "return", "The buyer sends the card back first"
