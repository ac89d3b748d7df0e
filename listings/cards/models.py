"""The standing sell side of cards: a card, or a lot of like ones, with a price per card and how it ships."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from listings.cards.states import (
    CARD_LISTING_TRANSITIONS,
    ZONE_LENGTH_MAX,
    AppearanceGrade,
    Flag,
    FunctionGrade,
    PhotoKind,
)
from listings.states import ListingState
from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from marketplace.common.ids import PublicIdField
from nodes.models import Card


class CardListing(models.Model):
    """Like cards for sale. `priced_at` is its age in the book: when it was opened, or its price last changed.

    Shipping is a flat sum per card, one within the country and one across borders.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = CARD_LISTING_TRANSITIONS
    EVENT: ClassVar[str] = "card_listing"

    public_id = PublicIdField("hlst")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="card_listings")
    state = models.CharField(max_length=8, choices=ListingState, default=ListingState.DRAFT)
    gpu_model = models.ForeignKey(GpuModel, on_delete=models.PROTECT, related_name="card_listings")
    memory_mib = models.PositiveIntegerField()  # what is written on the box (`memory.py`)
    is_modified = models.BooleanField()
    ask_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    function_grade = models.CharField(max_length=2, choices=FunctionGrade, default=FunctionGrade.FX)
    appearance_grade = models.CharField(max_length=9, choices=AppearanceGrade)
    flags = ArrayField(models.CharField(max_length=20, choices=Flag), default=list)
    warranty_days = models.PositiveIntegerField(default=0)
    ships_from = models.CharField(max_length=2)
    zone = models.CharField(max_length=ZONE_LENGTH_MAX)
    ships_to = ArrayField(models.CharField(max_length=2), default=list)  # countries; empty: wherever the rules allow
    shipping_micros = models.BigIntegerField(default=0)
    shipping_abroad_micros = models.BigIntegerField(null=True)  # null: does not ship across borders
    rent_counts_days = models.PositiveIntegerField(default=0)  # rent of the last so many days counts towards the price
    code = models.CharField(max_length=12)  # to be written by hand beside the card, on a photo
    end_reason = models.CharField(max_length=32, blank=True)  # why it is closed; empty: its seller closed it
    priced_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="card_listing_ask_positive", condition=Q(ask_micros__gt=0)),
            models.CheckConstraint(
                name="card_listing_shipping_not_negative",
                condition=Q(shipping_micros__gte=0)
                & (Q(shipping_abroad_micros=None) | Q(shipping_abroad_micros__gte=0)),
            ),
        ]
        indexes = [
            models.Index(name="card_listing_book", fields=["gpu_model", "memory_mib"], condition=Q(state="open")),
            models.Index(name="card_listing_of_firm", fields=["firm", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]

    @property
    def has_modified_memory(self) -> bool:
        """Whoever says so: the cards' own report, a passport, or the seller."""
        return self.is_modified or Flag.MEMORY_MOD in self.flags


class CardListingCard(models.Model):
    """A card of a listing. Live from its first opening until it is sold or the listing closes: in one listing only."""

    listing = models.ForeignKey(CardListing, on_delete=models.PROTECT, related_name="lot")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="card_listings")
    passport = models.CharField(max_length=32, blank=True)  # the one that it was opened with
    is_live = models.BooleanField(default=False)
    taken_by = models.CharField(max_length=32, blank=True)  # the sale's public id

    class Meta:
        constraints = [
            models.UniqueConstraint(name="card_listing_has_a_card_once", fields=["listing", "card"]),
            models.UniqueConstraint(name="card_is_for_sale_once", fields=["card"], condition=Q(is_live=True)),
        ]


class CardPhoto(models.Model):
    """A photo that was encoded anew; `file` is its name in the storage."""

    public_id = PublicIdField("pho")
    listing = models.ForeignKey(CardListing, on_delete=models.PROTECT, related_name="photos")
    kind = models.CharField(max_length=5, choices=PhotoKind)
    file = models.FileField(upload_to="cards")
    sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="card_photo_once", fields=["listing", "sha256"])]
