"""What cards did, hour by hour; kept longer than the reports it comes from."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm
from nodes.models import Card


class CardHour(models.Model):
    """One hour of one card, as its host's reports tell it. `firm` is whose it was then: nobody else may read it.

    Of the seconds in which it was seen, those idle, leased and used by its owner; what is left it was unhealthy.
    Utilisation and power are means over the seen seconds; empty where the card does not say them.
    """

    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="hours", db_index=False)
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="+", db_index=False)
    hour_at = models.DateTimeField()  # its beginning
    seen_seconds = models.PositiveSmallIntegerField()
    idle_seconds = models.PositiveSmallIntegerField()
    leased_seconds = models.PositiveSmallIntegerField()
    owner_seconds = models.PositiveSmallIntegerField()
    utilisation_percent = models.FloatField(null=True)
    power_w = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="card_hour_once",
                fields=["card", "hour_at"],
                # A card's month lies on as many pages of the table as it has hours, but side by side in this index.
                include=[
                    "firm",
                    "seen_seconds",
                    "idle_seconds",
                    "leased_seconds",
                    "owner_seconds",
                    "utilisation_percent",
                    "power_w",
                ],
            ),
            models.CheckConstraint(name="card_hour_has_3600_seconds", condition=Q(seen_seconds__lte=3600)),
        ]
        indexes = [BrinIndex(name="card_hour_at", fields=["hour_at"])]


class RollupMark(models.Model):
    """One row: every hour before this is rolled up for good."""

    done_until_at = models.DateTimeField()
