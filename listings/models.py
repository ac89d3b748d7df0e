"""The standing sell side: cards × window × ask; whole cards for sale are in `listings/cards`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from listings.cards.models import CardListing, CardListingCard, CardPhoto
from listings.states import LISTING_TRANSITIONS, ListingState
from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.ids import PublicIdField
from nodes.models import Card, Node

__all__ = ["CapacityListing", "CardListing", "CardListingCard", "CardPhoto", "ListingCard"]


class CapacityListing(models.Model):
    """Hours of named cards, or of a pool: every card of one model on the named nodes of the firm, on all when none is.

    The ask is in micros of `currency` per GPU-hour. `seq` is the matcher's number of its last opening: its age.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = LISTING_TRANSITIONS
    EVENT: ClassVar[str] = "capacity_listing"

    public_id = PublicIdField("clst")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="capacity_listings")
    state = models.CharField(max_length=8, choices=ListingState, default=ListingState.DRAFT)
    pool_model = models.ForeignKey(GpuModel, null=True, on_delete=models.PROTECT)
    pool_node_ids = ArrayField(models.BigIntegerField(), default=list)
    ask_micros_per_gpu_hour = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    window_start_at = models.DateTimeField()
    window_end_at = models.DateTimeField()
    duration_seconds_min = models.PositiveIntegerField()
    duration_seconds_max = models.PositiveIntegerField()
    reclaim_notice_seconds = models.PositiveIntegerField(default=0)
    seq = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="listing_ask_positive", condition=Q(ask_micros_per_gpu_hour__gt=0)),
            models.CheckConstraint(name="listing_window_ahead", condition=Q(window_end_at__gt=F("window_start_at"))),
            models.CheckConstraint(
                name="listing_durations_ordered", condition=Q(duration_seconds_max__gte=F("duration_seconds_min"))
            ),
        ]
        indexes = [models.Index(name="listing_open", fields=["window_end_at"], condition=Q(state="open"))]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]

    def pool_node_public_ids(self) -> list[str]:
        """The nodes that a pool is limited to; empty for all."""
        return list(Node.objects.filter(pk__in=self.pool_node_ids).values_list("public_id", flat=True))


class ListingCard(models.Model):
    """A card that a listing names."""

    listing = models.ForeignKey(CapacityListing, on_delete=models.CASCADE, related_name="named_cards")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="named_in")

    class Meta:
        constraints = [models.UniqueConstraint(name="listing_names_a_card_once", fields=["listing", "card"])]
