"""Sellers who answer for a disputed payment, and firms that trade with somebody who stands behind both."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from marketplace.accounts.models import Firm
from marketplace.common.ids import PublicIdField


class ShareReason(models.TextChoices):
    """Why a seller's earnings answer for a payment that its buyer took back."""

    LINKED = "linked", "Buyer and seller are linked"
    NOT_DELIVERED = "not_delivered", "Nothing was delivered"


class DisputeShare(models.Model):
    """What a seller earned of a disputed deposit, `amount_micros`, and how much of it is held or was taken.

    `evidence` has sentences for the operator.
    """

    public_id = PublicIdField("dsh")
    dispute = models.ForeignKey("payments.PaymentDispute", on_delete=models.PROTECT, related_name="shares")
    seller = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=13, choices=ShareReason)
    evidence = ArrayField(models.CharField(max_length=300))
    amount_micros = models.BigIntegerField()
    held_micros = models.BigIntegerField(default=0)
    found_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_share_per_dispute_and_seller", fields=["dispute", "seller"]),
            models.CheckConstraint(
                name="share_holds_no_more_than_it_is",
                condition=Q(amount_micros__gt=0, held_micros__gte=0, held_micros__lte=F("amount_micros")),
            ),
        ]


class LinkedTrade(models.Model):
    """A buyer that paid a seller it is linked with; `evidence` says by what. Written once per pair."""

    public_id = PublicIdField("ltr")
    buyer = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="+")
    seller = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="+")
    evidence = ArrayField(models.CharField(max_length=300))
    found_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="one_linked_trade_per_pair", fields=["buyer", "seller"])]
