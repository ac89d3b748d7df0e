"""What a gateway's own books say, runs that compare them with the ledger, and what differed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from marketplace.accounts.models import User
from marketplace.common.ids import PublicIdField
from marketplace.payments.reconciliation.states import (
    DIFFERENCE_TRANSITIONS,
    KIND_CHOICES,
    PLATFORM_PAYOUT_TRANSITIONS,
    RUN_TRANSITIONS,
    DifferenceState,
    PlatformPayoutState,
    RunState,
)


class GatewayTransaction(models.Model):
    """An entry of the gateway's books as it was told. Append-only: one that is told otherwise is another row."""

    gateway = models.CharField(max_length=16)
    transaction_id = models.CharField(max_length=64)
    type = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    fee_micros = models.BigIntegerField()
    net_micros = models.BigIntegerField()
    source_id = models.CharField(max_length=255, blank=True)  # the charge, transfer, payout or dispute that it is of
    happened_at = models.DateTimeField()  # by the gateway's clock
    available_on = models.DateTimeField()  # as first told: it says when, not how much
    kept_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_row_per_telling",
                fields=[
                    "gateway", "transaction_id", "type", "currency", "amount_micros", "fee_micros", "net_micros",
                    "source_id",
                ],
            )
        ]  # fmt: skip


class PlatformPayout(models.Model):
    """Money of the platform's on its way from a gateway to its bank account; `parts` are the entries it is made of."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = PLATFORM_PAYOUT_TRANSITIONS
    EVENT: ClassVar[str] = "platform_payout"

    public_id = PublicIdField("ppo")
    gateway = models.CharField(max_length=16)
    object_id = models.CharField(max_length=255, unique=True)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    is_automatic = models.BooleanField()
    parts = ArrayField(models.CharField(max_length=64), null=True)  # None until the gateway can tell, if it ever can
    state = models.CharField(max_length=8, choices=PlatformPayoutState, default=PlatformPayoutState.SENT)
    line = models.OneToOneField(
        "payments.StatementLine", null=True, on_delete=models.PROTECT, related_name="platform_payout"
    )
    happened_at = models.DateTimeField()  # by the gateway's clock
    arrives_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(name="platform_payout_is_money", condition=Q(amount_micros__gt=0))]
        indexes = [
            models.Index(
                name="platform_payout_on_its_way",
                fields=["currency", "amount_micros"],
                condition=Q(state__in=[PlatformPayoutState.SENT, PlatformPayoutState.PAID]),
            )
        ]

    @property
    def event_firm_ids(self) -> list[None]:
        return [None]  # the operators


class ReconciliationRun(models.Model):
    """One comparison. Its list is read page by page, newest first: `page_after` is where a tick goes on.

    `holdings` is what the gateway says it holds, read before the list; `totals` what the page shows, by currency.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = RUN_TRANSITIONS
    EVENT: ClassVar[str] = "reconciliation"

    public_id = PublicIdField("rec")
    gateway = models.CharField(max_length=16)
    state = models.CharField(max_length=6, choices=RunState, default=RunState.ASKED)
    asked_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    next_try_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True)
    reads_from = models.DateTimeField(null=True)
    page_after = models.CharField(max_length=64, blank=True)
    is_read = models.BooleanField(default=False)
    reads_count = models.IntegerField(default=0)
    holdings = models.JSONField(default=dict)
    totals = models.JSONField(default=dict)
    new_count = models.IntegerField(default=0)
    found_count = models.IntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_run_at_a_time", fields=["gateway"], condition=Q(state=RunState.ASKED))
        ]

    @property
    def event_firm_ids(self) -> list[None]:
        return [None]  # the operators


class Difference(models.Model):
    """Something that a run found, until a run finds it gone or an operator explains it.

    `off_micros` is what the ledger lacks because of it, and what suspense holds for it as long as it is open.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = DIFFERENCE_TRANSITIONS
    EVENT: ClassVar[str] = "difference"

    public_id = PublicIdField("dif")
    gateway = models.CharField(max_length=16)
    kind = models.CharField(max_length=12, choices=KIND_CHOICES)
    subject = models.CharField(max_length=255)
    currency = models.CharField(max_length=3)
    expected_micros = models.BigIntegerField()
    found_micros = models.BigIntegerField()
    off_micros = models.BigIntegerField()
    evidence = models.JSONField(default=dict)
    state = models.CharField(max_length=9, choices=DifferenceState, default=DifferenceState.OPEN)
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")
    explanation = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_open_difference",
                fields=["gateway", "kind", "subject", "currency"],
                condition=Q(state=DifferenceState.OPEN),
            ),
            models.CheckConstraint(
                name="difference_closed_when_it_is",
                condition=Q(state=DifferenceState.OPEN, closed_at=None)
                | (~Q(state=DifferenceState.OPEN) & Q(closed_at__gte=F("opened_at"))),
            ),
            models.CheckConstraint(
                name="explained_with_a_reason", condition=~Q(state=DifferenceState.EXPLAINED) | ~Q(explanation="")
            ),
        ]

    @property
    def event_firm_ids(self) -> list[None]:
        return [None]  # the operators
