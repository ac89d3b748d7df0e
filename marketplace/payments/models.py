"""Money on its way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm, User
from marketplace.common.ids import PublicIdField
from marketplace.payments.payouts.models import BankDetails, Payout, PayoutApproval, PayoutFile
from marketplace.payments.states import DEPOSIT_TRANSITIONS, DepositState
from marketplace.payments.wire.models import BankFile, BankStatement, ManualBooking, StatementLine

__all__ = [
    "BankDetails",
    "BankFile",
    "BankStatement",
    "Deposit",
    "ManualBooking",
    "Payout",
    "PayoutApproval",
    "PayoutFile",
    "StatementLine",
]


class Deposit(models.Model):
    """A firm's announcement of money; it reaches the wallet when the gateway or an operator confirms it."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = DEPOSIT_TRANSITIONS
    EVENT: ClassVar[str] = "deposit"

    public_id = PublicIdField("dep")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="deposits")
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    gateway = models.CharField(max_length=16)
    reference = models.CharField(max_length=25, unique=True)
    state = models.CharField(max_length=10, choices=DepositState, default=DepositState.CREATED)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    received_micros = models.BigIntegerField(null=True)  # what came, where a bank's statement says it

    class Meta:
        constraints = [models.CheckConstraint(name="deposit_is_money", condition=Q(amount_micros__gt=0))]
        indexes = [
            models.Index(name="deposit_waiting", fields=["expires_at"], condition=Q(state=DepositState.CREATED)),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]
