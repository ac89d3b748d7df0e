"""Money on its way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm, User
from marketplace.common.ids import PublicIdField
from marketplace.payments.fraud.models import DisputeShare, LinkedTrade
from marketplace.payments.gateway import Operation
from marketplace.payments.payouts.models import BankDetails, Payout, PayoutApproval, PayoutFile
from marketplace.payments.reconciliation.models import (
    Difference,
    GatewayTransaction,
    PlatformPayout,
    ReconciliationRun,
)
from marketplace.payments.states import (
    CALL_TRANSITIONS,
    DEPOSIT_TRANSITIONS,
    NOTICE_TRANSITIONS,
    PAYMENT_DISPUTE_TRANSITIONS,
    SELLER_ACCOUNT_TRANSITIONS,
    TOP_UP_TRANSITIONS,
    TRANSFER_TRANSITIONS,
    CallState,
    DepositState,
    NoticeState,
    PaymentDisputeState,
    SellerAccountState,
    TopUpState,
    TransferState,
)
from marketplace.payments.wire.models import BankFile, BankStatement, ManualBooking, StatementLine

__all__ = [
    "BankDetails",
    "BankFile",
    "BankStatement",
    "Deposit",
    "DepositRefund",
    "Difference",
    "DisputeShare",
    "GatewayCall",
    "GatewayNotice",
    "GatewayTransaction",
    "LinkedTrade",
    "ManualBooking",
    "NoticeCursor",
    "NoticeSource",
    "PaymentDispute",
    "Payout",
    "PayoutApproval",
    "PayoutFile",
    "PlatformPayout",
    "ReconciliationRun",
    "SavedCard",
    "SellerAccount",
    "SellerTransfer",
    "StatementLine",
    "TopUpRule",
]


class SavedCard(models.Model):
    """A firm's card that can be charged without its holder at the screen; the gateway keeps it, we keep its name."""

    public_id = PublicIdField("crd")
    firm = models.OneToOneField(Firm, on_delete=models.PROTECT, related_name="saved_card")
    gateway = models.CharField(max_length=16)
    page_id = models.CharField(max_length=255, blank=True)  # the page on which one is saved
    page_url = models.TextField(blank=True)
    customer_id = models.CharField(max_length=255, blank=True)
    method_id = models.CharField(max_length=255, blank=True)
    label = models.CharField(max_length=40, blank=True)  # such as visa 4242
    fingerprint = models.CharField(max_length=64, blank=True)  # the gateway's: the same for the same card
    saved_at = models.DateTimeField(null=True)


class TopUpRule(models.Model):
    """When the wallet falls below `below_micros`, `amount_micros` are charged to the saved card."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = TOP_UP_TRANSITIONS
    EVENT: ClassVar[str] = "top_up_rule"

    public_id = PublicIdField("tup")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="top_up_rules")
    currency = models.CharField(max_length=3)
    below_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=TopUpState, default=TopUpState.ON)
    reason = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_top_up_rule_per_wallet", fields=["firm", "currency"]),
            models.CheckConstraint(name="top_up_is_money", condition=Q(amount_micros__gt=0, below_micros__gt=0)),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


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
    page_id = models.CharField(max_length=255, blank=True)  # the gateway's payment page
    pay_url = models.TextField(blank=True)  # its address, while it is open
    payment_id = models.CharField(max_length=255, blank=True)  # the gateway's payment, once there is one
    charge_id = models.CharField(max_length=255, blank=True)
    card_fingerprint = models.CharField(max_length=64, blank=True)  # the gateway's: the same for the same card
    rule = models.ForeignKey(TopUpRule, null=True, on_delete=models.PROTECT, related_name="deposits")
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
            models.Index(name="deposit_page", fields=["page_id"], condition=~Q(page_id="")),
            models.Index(name="deposit_payment", fields=["payment_id"], condition=~Q(payment_id="")),
            models.Index(name="deposit_card", fields=["card_fingerprint"], condition=~Q(card_fingerprint="")),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


class GatewayCall(models.Model):
    """A row of the outbox: one call to a gateway, written with the ledger's reservation and settled with its result.

    `params` are in micros and in our words. `key` is the idempotency key of the attempts so far, `first_tried_at` the
    first attempt with it: a gateway forgets keys, so an old one is looked up and never tried again. A worker that takes
    the row moves `next_try_at` behind the time that it can need, so that a row is never with two of them.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = CALL_TRANSITIONS
    EVENT: ClassVar[str] = "gateway_call"

    public_id = PublicIdField("gwc")
    firm = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="+")
    gateway = models.CharField(max_length=16)
    operation = models.CharField(max_length=20, choices=[(each.value, each.value) for each in Operation])
    subject = models.CharField(max_length=32)  # the public id of what it is for
    params = models.JSONField()
    after = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="followers")
    key = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=8, choices=CallState, default=CallState.WAITING)
    attempts = models.IntegerField(default=0)
    created_at = models.DateTimeField()
    next_try_at = models.DateTimeField()
    first_tried_at = models.DateTimeField(null=True)
    last_tried_at = models.DateTimeField(null=True)
    must_look = models.BooleanField(default=False)  # whether it was done has to be found out first
    is_given_up = models.BooleanField(default=False)  # an operator's word: if it was not done, it never will be
    object_id = models.CharField(max_length=255, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    error = models.CharField(max_length=500, blank=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(name="call_due", fields=["next_try_at"], condition=Q(state=CallState.WAITING)),
            models.Index(name="call_subject", fields=["subject", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        """Nobody hears of a call: its effect is told by what it is for."""
        return []


class NoticeSource(models.TextChoices):
    """How we know that something has changed outside."""

    SENT = "sent", "Sent to us"
    LISTED = "listed", "Found in the list of events"
    LOOKED = "looked", "Looked at because we wanted to know"


class GatewayNotice(models.Model):
    """A row of the inbox: something outside may have changed. What it says is not kept: the thing itself is fetched."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = NOTICE_TRANSITIONS
    EVENT: ClassVar[str] = "gateway_notice"

    public_id = PublicIdField("gwn")
    gateway = models.CharField(max_length=16)
    event_id = models.CharField(max_length=255)
    type = models.CharField(max_length=128)
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=255)
    account = models.CharField(max_length=255, blank=True)  # the connected account that it is of
    source = models.CharField(max_length=8, choices=NoticeSource)
    happened_at = models.DateTimeField()  # by the gateway's clock
    received_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=NoticeState, default=NoticeState.WAITING)
    attempts = models.IntegerField(default=0)
    next_try_at = models.DateTimeField()
    error = models.CharField(max_length=500, blank=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="one_notice_per_event", fields=["gateway", "event_id"])]
        indexes = [
            models.Index(name="notice_due", fields=["next_try_at"], condition=Q(state=NoticeState.WAITING)),
            models.Index(name="notice_waiting", fields=["object_id"], condition=Q(state=NoticeState.WAITING)),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        """Nobody hears of a notice: what it changes is told by that."""
        return []


class NoticeCursor(models.Model):
    """Up to when a gateway's list of events was read to its end."""

    gateway = models.CharField(max_length=16, primary_key=True)
    listed_until = models.DateTimeField()


class SellerAccount(models.Model):
    """A firm's account at the gateway that pays it; `due` is what it still asks for, in the gateway's words."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = SELLER_ACCOUNT_TRANSITIONS
    EVENT: ClassVar[str] = "seller_account"

    public_id = PublicIdField("sac")
    firm = models.OneToOneField(Firm, on_delete=models.PROTECT, related_name="seller_account")
    gateway = models.CharField(max_length=16)
    country = models.CharField(max_length=2)
    account_id = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=8, choices=SellerAccountState, default=SellerAccountState.OPENING)
    due = ArrayField(models.CharField(max_length=200), default=list)
    told_at = models.DateTimeField(null=True)  # when the newest look at it began
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_seller_per_account", fields=["gateway", "account_id"], condition=~Q(account_id="")
            )
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


class SellerTransfer(models.Model):
    """Earnings on their way to a seller's account at the gateway. What was taken back again is `reversed_micros`."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = TRANSFER_TRANSITIONS
    EVENT: ClassVar[str] = "seller_transfer"

    public_id = PublicIdField("str")
    account = models.ForeignKey(SellerAccount, on_delete=models.PROTECT, related_name="transfers")
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    reversed_micros = models.BigIntegerField(default=0)  # reversals that are asked for count as well
    object_id = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=8, choices=TransferState, default=TransferState.CREATED)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="transfer_not_over_reversed",
                condition=Q(
                    amount_micros__gt=0, reversed_micros__gte=0, reversed_micros__lte=models.F("amount_micros")
                ),
            )
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.account.firm_id]


class DepositRefund(models.Model):
    """A deposit, or a part of it, on its way back to the instrument that it came from.

    The money is the payer's own, out of its wallet, or that of `seller`, who was paid with it. One that was made in the
    gateway's dashboard has left already: `missing_micros` is what the payer still owes of it.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = TRANSFER_TRANSITIONS
    EVENT: ClassVar[str] = "deposit_refund"

    public_id = PublicIdField("rfd")
    deposit = models.ForeignKey(Deposit, on_delete=models.PROTECT, related_name="refunds")
    seller = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="+")
    amount_micros = models.BigIntegerField()
    is_from_outside = models.BooleanField(default=False)
    missing_micros = models.BigIntegerField(default=0)
    object_id = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=8, choices=TransferState, default=TransferState.CREATED)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="refund_is_money",
                condition=Q(amount_micros__gt=0, missing_micros__gte=0, missing_micros__lte=models.F("amount_micros")),
            ),
            models.UniqueConstraint(name="one_refund_per_object", fields=["object_id"], condition=~Q(object_id="")),
        ]
        indexes = [models.Index(name="refund_owed", fields=["deposit"], condition=Q(missing_micros__gt=0))]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.deposit.firm_id] if self.seller_id is None else [self.deposit.firm_id, self.seller_id]


class PaymentDispute(models.Model):
    """A payer asked its bank for a deposit back. What was not taken from anybody the payer owes.

    `held_micros` were taken from the payer, `sellers_micros` from sellers who answer for it (DisputeShare). Of the rest
    the reserve bears `reserve_micros` once it is lost.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = PAYMENT_DISPUTE_TRANSITIONS
    EVENT: ClassVar[str] = "payment_dispute"

    public_id = PublicIdField("pdp")
    deposit = models.ForeignKey(Deposit, on_delete=models.PROTECT, related_name="disputes")
    object_id = models.CharField(max_length=255, unique=True)
    amount_micros = models.BigIntegerField()
    held_micros = models.BigIntegerField(default=0)
    sellers_micros = models.BigIntegerField(default=0)
    reserve_micros = models.BigIntegerField(default=0)
    reason = models.CharField(max_length=64)
    state = models.CharField(max_length=8, choices=PaymentDisputeState, default=PaymentDisputeState.OPEN)
    answer_by = models.DateTimeField(null=True)
    opened_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="dispute_holds_no_more_than_it_is",
                condition=Q(
                    amount_micros__gt=0,
                    held_micros__gte=0,
                    sellers_micros__gte=0,
                    reserve_micros__gte=0,
                    held_micros__lte=models.F("amount_micros") - models.F("sellers_micros"),
                ),
            )
        ]

    @property
    def missing_micros(self) -> int:
        """What the payer still owes of it."""
        return self.amount_micros - self.held_micros - self.sellers_micros

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.deposit.firm_id]
