"""States of a deposit; the table is the only moves there are."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models


class DepositState(models.TextChoices):
    """CREATED waits for the money. A wire that comes after CANCELLED or EXPIRED can be confirmed: it is there."""

    CREATED = "created", "Waiting for the money"
    CONFIRMED = "confirmed", "Confirmed"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"


DEPOSIT_TRANSITIONS: Mapping[str, frozenset[str]] = {
    DepositState.CREATED: frozenset({DepositState.CONFIRMED, DepositState.CANCELLED, DepositState.EXPIRED}),
    DepositState.CONFIRMED: frozenset(),
    DepositState.CANCELLED: frozenset({DepositState.CONFIRMED}),
    DepositState.EXPIRED: frozenset({DepositState.CONFIRMED}),
}


class TopUpState(models.TextChoices):
    """NEEDS_YOU after a charge that failed: nothing is charged until somebody of the firm has acted."""

    ON = "on", "On"
    NEEDS_YOU = "needs_you", "Needs you"
    OFF = "off", "Off"


TOP_UP_TRANSITIONS: Mapping[str, frozenset[str]] = {
    TopUpState.ON: frozenset({TopUpState.NEEDS_YOU, TopUpState.OFF}),
    TopUpState.NEEDS_YOU: frozenset({TopUpState.ON, TopUpState.OFF}),
    TopUpState.OFF: frozenset({TopUpState.ON}),
}


class TransferState(models.TextChoices):
    """Of a transfer to a seller's account, and of a refund: SENT when the gateway has taken it on."""

    CREATED = "created", "Being sent"
    SENT = "sent", "Sent"
    PAID = "paid", "Paid"
    FAILED = "failed", "Failed"


TRANSFER_TRANSITIONS: Mapping[str, frozenset[str]] = {
    TransferState.CREATED: frozenset({TransferState.SENT, TransferState.PAID, TransferState.FAILED}),
    TransferState.SENT: frozenset({TransferState.PAID, TransferState.FAILED}),
    TransferState.PAID: frozenset({TransferState.FAILED}),  # a refund can come back after weeks
    TransferState.FAILED: frozenset(),
}


class PaymentDisputeState(models.TextChoices):
    """OPEN waits for our evidence, ANSWERED for the bank."""

    OPEN = "open", "Waits for evidence"
    ANSWERED = "answered", "With the bank"
    WON = "won", "Won"
    LOST = "lost", "Lost"


PAYMENT_DISPUTE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    PaymentDisputeState.OPEN: frozenset(
        {PaymentDisputeState.ANSWERED, PaymentDisputeState.WON, PaymentDisputeState.LOST}
    ),
    PaymentDisputeState.ANSWERED: frozenset({PaymentDisputeState.WON, PaymentDisputeState.LOST}),
    PaymentDisputeState.WON: frozenset(),
    PaymentDisputeState.LOST: frozenset({PaymentDisputeState.WON}),  # banks change their mind
}


class CallState(models.TextChoices):
    """WAITING is tried until it is settled; ASKING waits for an operator, who sends it back."""

    WAITING = "waiting", "Waiting"
    ASKING = "asking", "Needs an operator"
    DONE = "done", "Done"
    FAILED = "failed", "Refused"


CALL_TRANSITIONS: Mapping[str, frozenset[str]] = {
    CallState.WAITING: frozenset({CallState.ASKING, CallState.DONE, CallState.FAILED}),
    CallState.ASKING: frozenset({CallState.WAITING}),
    CallState.DONE: frozenset(),
    CallState.FAILED: frozenset(),
}


class NoticeState(models.TextChoices):
    """WAITING is fetched and booked; ASKING waits for an operator, who sends it back."""

    WAITING = "waiting", "Waiting"
    ASKING = "asking", "Needs an operator"
    DONE = "done", "Done"


NOTICE_TRANSITIONS: Mapping[str, frozenset[str]] = {
    NoticeState.WAITING: frozenset({NoticeState.ASKING, NoticeState.DONE}),
    NoticeState.ASKING: frozenset({NoticeState.WAITING}),
    NoticeState.DONE: frozenset(),
}


class SellerAccountState(models.TextChoices):
    """OPENING until the gateway has told of it; DUE while something has to be filled in."""

    OPENING = "opening", "Being opened"
    DUE = "due", "Details are due"
    READY = "ready", "Ready to be paid"
    REFUSED = "refused", "Refused"


_TOLD = frozenset({SellerAccountState.DUE, SellerAccountState.READY, SellerAccountState.REFUSED})
SELLER_ACCOUNT_TRANSITIONS: Mapping[str, frozenset[str]] = {
    SellerAccountState.OPENING: _TOLD,
    **{state: _TOLD - {state} for state in _TOLD},
}
