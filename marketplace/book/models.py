"""What goes into the matcher and what comes out. Subjects are public ids: the things themselves live higher up."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from marketplace.common.ids import PublicIdField


class MessageKind(models.TextChoices):
    """What the sender wants of the next round."""

    ORDER = "order", "New order"
    CANCEL = "cancel", "Cancel an order"
    LISTING = "listing", "Listing opened or changed"


class Round(models.Model):
    """One round: its hashes let anyone who has its inputs recompute it."""

    at = models.DateTimeField()
    message_count = models.PositiveIntegerField()
    bid_count = models.PositiveIntegerField()
    ask_count = models.PositiveIntegerField()
    fill_count = models.PositiveIntegerField()
    supply_fingerprint = models.CharField(max_length=64)
    input_hash = models.CharField(max_length=64)
    output_hash = models.CharField(max_length=64)


class InboxMessage(models.Model):
    """A message to the matcher; its row is the acknowledgement. Only the matcher gives it a `seq`."""

    kind = models.CharField(max_length=8, choices=MessageKind)
    subject = models.CharField(max_length=32)
    created_at = models.DateTimeField()
    seq = models.BigIntegerField(null=True, unique=True)
    round = models.ForeignKey(Round, null=True, on_delete=models.PROTECT, related_name="messages")

    class Meta:
        indexes = [models.Index(name="inbox_waiting", fields=["id"], condition=models.Q(seq=None))]


class Trade(models.Model):
    """A line of the tape. `buyer_id` and `seller_id` are firms' primary keys and are never published."""

    public_id = PublicIdField("trd")
    round = models.ForeignKey(Round, on_delete=models.PROTECT, related_name="trades")
    at = models.DateTimeField()
    gpu = models.CharField(max_length=80, db_index=True)
    region = models.CharField(max_length=40)
    currency = models.CharField(max_length=3)
    price_micros_per_gpu_hour = models.BigIntegerField()
    card_count = models.PositiveIntegerField()
    duration_seconds = models.PositiveIntegerField()
    order = models.CharField(max_length=32, db_index=True)
    listing = models.CharField(max_length=32)
    lease = models.CharField(max_length=32)
    cards = ArrayField(models.BigIntegerField())
    buyer_id = models.BigIntegerField()
    seller_id = models.BigIntegerField()


class CardTrade(models.Model):
    """A line of the tape of cards, printed when a sale is agreed. It counts as delivered once its money is released.

    The sale, the card and both firms are never published.
    """

    public_id = PublicIdField("trd")
    at = models.DateTimeField()
    gpu = models.CharField(max_length=80)
    memory_mib = models.PositiveIntegerField()
    is_modified = models.BooleanField()
    function_grade = models.CharField(max_length=2)
    appearance_grade = models.CharField(max_length=9)
    zone = models.CharField(max_length=8)
    currency = models.CharField(max_length=3)
    price_micros = models.BigIntegerField()
    sale = models.CharField(max_length=32, unique=True)
    card = models.BigIntegerField()
    buyer_id = models.BigIntegerField()
    seller_id = models.BigIntegerField()
    delivered_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(name="card_tape", fields=["gpu", "id"])]
