"""Double entry: a journal moves money between accounts, its entries sum to zero, and nothing is ever changed.

A positive balance is money that Fallow owes to the account's firm. The triggers that keep the rules are in the
first migration; the runtime role can add journals and entries, and can't touch a balance except through them.
"""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm, User
from marketplace.common.ids import PublicIdField
from marketplace.events.models import CurrentTransaction


class AccountKind(models.TextChoices):
    """What the money in an account is for."""

    WALLET = "wallet", "Wallet"  # a firm's money, free to spend
    ESCROW = "escrow", "Escrow"  # committed to one order, card bid or sale, named by `ref`
    EARNINGS = "earnings", "Earnings"  # owed to a seller, not yet paid out
    PAYOUT = "payout", "On its way out"  # earnings that a payout has asked for
    FROZEN = "frozen", "Frozen"  # disputed with the bank of the payer, named by `ref`
    PLATFORM_FEE = "platform_fee", "Platform fee"
    GATEWAY_FEE = "gateway_fee", "Gateway fee"  # what a gateway, named by `ref`, takes from the platform: below zero
    CLEARING = "clearing", "Clearing"  # the outside world of one gateway, named by `ref`
    DISPUTE_LOSS = "dispute_loss", "Lost disputes"  # what the platform bears of them: below zero
    RESERVE = "reserve", "Reserve for disputes"  # out of its fees: what lost disputes are paid from first
    SUSPENSE = "suspense", "Suspense"  # money that nobody could be named for yet
    OWN = "own", "The platform's own money"


FIRM_KINDS = frozenset(
    {AccountKind.WALLET, AccountKind.ESCROW, AccountKind.EARNINGS, AccountKind.PAYOUT, AccountKind.FROZEN}
)


class Account(models.Model):
    """A bucket of one currency. Only a firm's accounts keep a running balance: a platform row would be a hot spot."""

    firm = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="accounts")
    kind = models.CharField(max_length=12, choices=AccountKind)
    currency = models.CharField(max_length=3)
    ref = models.CharField(max_length=32, blank=True)
    is_running = models.BooleanField()
    balance_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_account_per_purpose", fields=["firm", "kind", "currency", "ref"], nulls_distinct=False
            ),
            models.CheckConstraint(name="account_never_negative", condition=Q(balance_micros__gte=0)),
            models.CheckConstraint(
                name="platform_accounts_are_sums", condition=Q(firm=None, is_running=False) | Q(is_running=True)
            ),
        ]


class Code(models.TextChoices):
    """What a journal is about."""

    DEPOSIT = "deposit", "Deposit"
    ORDER_ESCROW = "order_escrow", "Held for an order"
    ESCROW_RELEASE = "escrow_release", "Rest of an order returned"
    SETTLEMENT = "settlement", "Hours used"
    CARD_ESCROW = "card_escrow", "Held for a card"
    CARD_SALE = "card_sale", "Card sold"
    CARD_REFUND = "card_refund", "Money for a card returned"
    CANCELLATION_CREDIT = "cancellation_credit", "Credit for a sale that was cancelled"
    CREDIT_NOTE = "credit_note", "Credit note"
    BANK_MONEY = "bank_money", "Money at the bank that nobody was named for"
    GATEWAY_FEE = "gateway_fee", "What a bank or gateway took"
    OWN_MONEY = "own_money", "The platform's own money"
    PAYOUT = "payout", "Payout asked for"
    PAYOUT_PAID = "payout_paid", "Paid out"
    PAYOUT_RETURN = "payout_return", "Sent money that came back"
    DEPOSIT_REFUND = "deposit_refund", "Deposit returned"
    DISPUTE = "dispute", "Payment disputed"
    RESERVE = "reserve", "Put aside for disputes"
    SET_OFF = "set_off", "Debt set off"
    TRANSIT = "transit", "On its way from a gateway to the bank"
    RECONCILIATION = "reconciliation", "Difference with a gateway's books"
    CORRECTION = "correction", "Correction"


class Journal(models.Model):
    """One immutable, balanced move. `ref` makes a repeated posting harmless.

    `at` is the time it counts for: PostgreSQL refuses one that lies in a closed period (`PeriodLock`).
    """

    public_id = PublicIdField("jrn", unique=False)
    ref = models.CharField(max_length=80)
    code = models.CharField(max_length=20, choices=Code)
    at = models.DateTimeField()
    subject = models.CharField(max_length=32, blank=True)
    data = models.JSONField(default=dict)
    xact = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)

    class Meta:
        constraints = [  # `unique=True` would add two more indexes, for LIKE, which every posting pays for
            models.UniqueConstraint(name="one_journal_per_public_id", fields=["public_id"]),
            models.UniqueConstraint(name="one_journal_per_ref", fields=["ref"]),
        ]
        indexes = [
            BrinIndex(name="journal_at", fields=["at"]),
            models.Index(name="journal_subject", fields=["subject", "id"], condition=~Q(subject="")),
        ]


class Entry(models.Model):
    """One leg of a journal."""

    journal = models.ForeignKey(Journal, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries", db_index=False)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(name="entry_statement", fields=["account", "id"])]  # serves the foreign key too
        constraints = [
            models.CheckConstraint(name="entry_moves_something", condition=~Q(amount_micros=0)),
        ]


class Snapshot(models.Model):
    """What an account held after its entry `through_entry`; append-only. None of these is needed: they save reading.

    `newest_at` is the latest `at` of what it counts, so that it can stand in for everything before a later time.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="snapshots")
    through_entry = models.BigIntegerField()
    newest_at = models.DateTimeField()
    balance_micros = models.BigIntegerField()
    taken_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_snapshot_per_entry", fields=["account", "through_entry"])]


class ReopenRequest(models.Model):
    """An operator asks another one to reopen what was closed from `closed_until` on; append-only."""

    public_id = PublicIdField("rop")
    closed_until = models.DateTimeField()
    reason = models.CharField(max_length=500)
    operator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    xact = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)


class PeriodLock(models.Model):
    """From here on no journal may count for a time before `closed_until`; append-only, the newest row is in force.

    `through_entry` is the newest entry at that moment: what counts for a closed time has no later one. Only a reopening
    has a `request`, and another operator's (docs/adr/0008).
    """

    public_id = PublicIdField("lck")
    closed_until = models.DateTimeField()
    through_entry = models.BigIntegerField(default=0, editable=False)
    reason = models.CharField(max_length=500, blank=True)
    operator = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    request = models.OneToOneField(ReopenRequest, null=True, on_delete=models.PROTECT, related_name="reopening")
    at = models.DateTimeField()
