"""Where a firm's money goes, and its way there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm, User
from marketplace.common.ids import PublicIdField
from marketplace.payments.payouts.states import PAYOUT_TRANSITIONS, PayoutState


class BankDetails(models.Model):
    """A bank account of a firm; in force from `usable_at` until the next one is.

    The number is sealed with BANK_DETAILS_KEY, which is in no table; `hint` is what people may see of it.
    """

    public_id = PublicIdField("bnk")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="bank_details")
    holder = models.CharField(max_length=70)
    sealed_account = models.BinaryField()
    account_digest = models.BinaryField(null=True, db_index=True)  # the same for the same number (`sealing.digest`)
    hint = models.CharField(max_length=12)
    bic = models.CharField(max_length=11, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    usable_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True)


class PayoutFile(models.Model):
    """One order to the bank; its bytes follow from the rows that it has. Append-only."""

    public_id = PublicIdField("pfl")
    currency = models.CharField(max_length=3)
    made_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()


class Payout(models.Model):
    """Earnings that a firm wants at its bank. `reference` is what the bank's statement will show."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = PAYOUT_TRANSITIONS
    EVENT: ClassVar[str] = "payout"

    public_id = PublicIdField("pay")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="payouts")
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=7, choices=PayoutState, default=PayoutState.CREATED)
    reason = models.CharField(max_length=64, blank=True)
    bank_details = models.ForeignKey(BankDetails, on_delete=models.PROTECT, related_name="payouts")
    reference = models.CharField(max_length=25, unique=True)
    week = models.CharField(max_length=8, blank=True)  # `2026-W48` of a payout that the clock asked for
    file = models.ForeignKey(PayoutFile, null=True, on_delete=models.PROTECT, related_name="payouts")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="payout_is_money", condition=Q(amount_micros__gt=0)),
            models.UniqueConstraint(
                name="one_automatic_payout_a_week", fields=["firm", "currency", "week"], condition=~Q(week="")
            ),
        ]
        indexes = [
            models.Index(
                name="payout_open", fields=["id"], condition=Q(state__in=[PayoutState.CREATED, PayoutState.SENT])
            )
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


class PayoutApproval(models.Model):
    """An operator says that a payout may leave; append-only, once each."""

    payout = models.ForeignKey(Payout, on_delete=models.PROTECT, related_name="approvals")
    operator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_approval_per_operator", fields=["payout", "operator"])]
