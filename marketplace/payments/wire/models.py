"""Statements of the bank, their lines, and what operators booked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm, User
from marketplace.common.ids import PublicIdField
from marketplace.payments.wire.states import (
    BOOKING_TRANSITIONS,
    LINE_TRANSITIONS,
    Action,
    BookingState,
    LineState,
    Match,
)


class BankFile(models.Model):
    """A file that was imported; the hash of its bytes makes a second import harmless. Append-only."""

    public_id = PublicIdField("bfl")
    sha256 = models.BinaryField(unique=True)
    name = models.CharField(max_length=200)
    bytes_count = models.IntegerField()
    imported_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    imported_at = models.DateTimeField()


class BankStatement(models.Model):
    """One account's entries of some days, as the bank says them. Append-only."""

    public_id = PublicIdField("stm")
    file = models.ForeignKey(BankFile, on_delete=models.PROTECT, related_name="statements")
    account = models.CharField(max_length=34)
    currency = models.CharField(max_length=3)
    number = models.CharField(max_length=35, blank=True)
    from_on = models.DateField()
    to_on = models.DateField()
    opening_micros = models.BigIntegerField()
    closing_micros = models.BigIntegerField()
    lines_count = models.IntegerField()
    new_count = models.IntegerField()
    created_at = models.DateTimeField(null=True)  # the bank's clock

    class Meta:
        indexes = [models.Index(name="newest_statement", fields=["currency", "-to_on", "-id"])]


class StatementLine(models.Model):
    """One entry of the bank's; plus is money that came. `identity` is the same in every file that has the entry."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = LINE_TRANSITIONS
    EVENT: ClassVar[str] = "bank_line"

    public_id = PublicIdField("bnl")
    statement = models.ForeignKey(BankStatement, on_delete=models.PROTECT, related_name="lines")
    identity = models.BinaryField(unique=True)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    booked_on = models.DateField()
    entry_reference = models.CharField(max_length=35, blank=True)
    end_to_end = models.CharField(max_length=35, blank=True)
    name = models.CharField(max_length=140, blank=True)
    account = models.CharField(max_length=34, blank=True)
    text = models.CharField(max_length=500, blank=True)
    is_return = models.BooleanField(default=False)
    match = models.CharField(max_length=13, choices=Match)
    state = models.CharField(max_length=9, choices=LineState)
    reference = models.CharField(max_length=25, blank=True)  # one with valid check digits, wherever it was written
    deposit = models.ForeignKey("payments.Deposit", null=True, on_delete=models.PROTECT, related_name="lines")
    return_reference = models.CharField(max_length=25, unique=True, null=True)  # noqa: DJ001  # unique where there is one
    return_file = models.ForeignKey("payments.PayoutFile", null=True, on_delete=models.PROTECT, related_name="lines")
    imported_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(name="line_moves_money", condition=~Q(amount_micros=0))]
        indexes = [
            models.Index(
                name="line_unsettled",
                fields=["id"],
                condition=Q(state__in=[LineState.WAITING, LineState.RETURNING]),
            )
        ]

    @property
    def event_firm_ids(self) -> list[None]:
        return [None]  # the operators


class ManualBooking(models.Model):
    """What an operator did with money at the bank by hand, or asks another one to agree to."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = BOOKING_TRANSITIONS
    EVENT: ClassVar[str] = "manual_booking"

    public_id = PublicIdField("mbk")
    action = models.CharField(max_length=13, choices=Action)
    state = models.CharField(max_length=7, choices=BookingState, default=BookingState.ASKED)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    line = models.ForeignKey(StatementLine, null=True, on_delete=models.PROTECT, related_name="bookings")
    deposit = models.ForeignKey("payments.Deposit", null=True, on_delete=models.PROTECT, related_name="+")
    firm = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="+")
    subject = models.CharField(max_length=32, blank=True)  # the public id of another thing that it is about
    reason = models.CharField(max_length=500, blank=True)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(name="booking_asked", fields=["id"], condition=Q(state=BookingState.ASKED))]
        constraints = [
            models.UniqueConstraint(
                name="one_open_booking_per_line", fields=["line"], condition=Q(state=BookingState.ASKED)
            ),
        ]

    @property
    def event_firm_ids(self) -> list[None]:
        return [None]  # the operators
