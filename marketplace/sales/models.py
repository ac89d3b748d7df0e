"""The buyer's binding request for a card, a card sold, and what is said about it when the two sides do not agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from listings.cards.states import ZONE_LENGTH_MAX, AppearanceGrade, Flag, FunctionGrade
from listings.models import CardListing
from marketplace.accounts.models import Firm, User
from marketplace.catalogue.models import GpuModel
from marketplace.common.ids import PublicIdField
from marketplace.payments.models import Deposit
from marketplace.sales.pricing import Landed
from marketplace.sales.silence import Facts
from marketplace.sales.states import (
    BID_TRANSITIONS,
    HOLDS_MONEY,
    PURCHASE_TRANSITIONS,
    SALE_TRANSITIONS,
    BidState,
    PurchaseState,
    Route,
    Ruling,
    SaleState,
)
from nodes.models import Card, Claim


class CardBid(models.Model):
    """`count` cards at `limit_micros` each at most, all in. `priced_at` is its age in the book."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = BID_TRANSITIONS
    EVENT: ClassVar[str] = "card_bid"

    public_id = PublicIdField("bid")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="card_bids")
    actor = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=BidState, default=BidState.OPEN)
    end_reason = models.CharField(max_length=32, blank=True)
    gpu_model = models.ForeignKey(GpuModel, on_delete=models.PROTECT, related_name="card_bids")
    memory_mib = models.PositiveIntegerField()
    grade_min = models.CharField(max_length=2, choices=FunctionGrade)
    zone = models.CharField(max_length=ZONE_LENGTH_MAX, blank=True)  # where it ships from; empty for anywhere
    currency = models.CharField(max_length=3)
    limit_micros = models.BigIntegerField()
    count = models.PositiveIntegerField()
    filled_count = models.PositiveIntegerField(default=0)
    ships_to = models.CharField(max_length=2)
    address = models.CharField(max_length=500)  # shown to the one who ships, from the payment on
    route = models.CharField(max_length=6, choices=Route, blank=True)  # empty: what is usual for the card
    pinned_listing = models.CharField(max_length=32, blank=True)
    pinned_card_id = models.BigIntegerField(null=True)
    refused_listings = ArrayField(models.CharField(max_length=32), default=list)  # that the rules do not allow
    version = models.PositiveIntegerField(default=0)
    priced_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="card_bid_wants_something", condition=Q(count__gt=0, limit_micros__gt=0)),
            models.CheckConstraint(name="card_bid_not_overfilled", condition=Q(filled_count__lte=F("count"))),
        ]
        indexes = [
            models.Index(name="card_bid_open", fields=["expires_at"], condition=Q(state="open")),
            models.Index(name="card_bid_of_firm", fields=["firm", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]

    @property
    def held_micros(self) -> int:
        """What its escrow holds while it is open."""
        return self.limit_micros * (self.count - self.filled_count) if self.state == BidState.OPEN else 0


class CardPurchase(models.Model):
    """Cards that are taken once `deposit` is in the wallet, at `most_micros` each at most, all in."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = PURCHASE_TRANSITIONS
    EVENT: ClassVar[str] = "card_purchase"

    public_id = PublicIdField("pur")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="card_purchases")
    actor = models.CharField(max_length=64)
    listing = models.ForeignKey(CardListing, on_delete=models.PROTECT, related_name="+")
    card = models.CharField(max_length=32, blank=True)  # the public id of a certain one
    count = models.PositiveIntegerField()
    most_micros = models.BigIntegerField()
    ships_to = models.CharField(max_length=2)
    address = models.CharField(max_length=500)
    route = models.CharField(max_length=6, choices=Route, blank=True)
    deposit = models.OneToOneField(Deposit, on_delete=models.PROTECT, related_name="card_purchase")
    bid = models.OneToOneField(CardBid, null=True, on_delete=models.PROTECT, related_name="purchase")
    state = models.CharField(max_length=10, choices=PurchaseState, default=PurchaseState.WAITING)
    end_reason = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(name="purchase_waiting", fields=["id"], condition=Q(state=PurchaseState.WAITING)),
            models.Index(name="purchase_of_firm", fields=["firm", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]


class Lab(models.Model):
    """A firm that measures cards between seller and buyer and belongs to neither side."""

    firm = models.OneToOneField(Firm, primary_key=True, on_delete=models.PROTECT, related_name="lab")
    country = models.CharField(max_length=2)
    address = models.CharField(max_length=500)
    is_active = models.BooleanField(default=True)


class Sale(models.Model):
    """A card sold. Prices, fee and what was said of it are fixed when it is agreed; its money lies in an escrow account
    of its own.

    `step_at` is when the present step began, `deadline_at` when it ends by itself (`silence.py`). A `…_passport` is a
    passport's public id.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = SALE_TRANSITIONS
    EVENT: ClassVar[str] = "sale"

    public_id = PublicIdField("sale")
    bid = models.ForeignKey(CardBid, on_delete=models.PROTECT, related_name="sales")
    listing = models.ForeignKey(CardListing, on_delete=models.PROTECT, related_name="sales")
    buyer = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="cards_bought")
    seller = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="cards_sold")
    lab = models.ForeignKey(Lab, null=True, on_delete=models.PROTECT, related_name="sales")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="sales")
    claim = models.OneToOneField(Claim, null=True, on_delete=models.SET_NULL, related_name="sale")
    state = models.CharField(max_length=10, choices=SaleState, default=SaleState.AGREED)
    end_reason = models.CharField(max_length=32, blank=True)
    function_grade = models.CharField(max_length=2, choices=FunctionGrade)
    appearance_grade = models.CharField(max_length=9, choices=AppearanceGrade)
    is_modified = models.BooleanField()
    flags = ArrayField(models.CharField(max_length=20, choices=Flag), default=list)
    warranty_days = models.PositiveIntegerField(default=0)
    route = models.CharField(max_length=6, choices=Route, default=Route.DIRECT)
    ships_from = models.CharField(max_length=2)
    ships_to = models.CharField(max_length=2)
    currency = models.CharField(max_length=3)
    item_micros = models.BigIntegerField()
    rent_credit_micros = models.BigIntegerField(default=0)
    shipping_micros = models.BigIntegerField()
    tax_micros = models.BigIntegerField()
    fee_basis_points = models.PositiveIntegerField()
    refunded_micros = models.BigIntegerField(default=0)
    credit_micros = models.BigIntegerField(default=0)  # owed to the buyer by a seller who did not ship
    credit_paid_micros = models.BigIntegerField(default=0)
    seller_passport = models.CharField(max_length=32)
    lab_passport = models.CharField(max_length=32, blank=True)
    buyer_passport = models.CharField(max_length=32, blank=True)
    return_passport = models.CharField(max_length=32, blank=True)
    differences = models.JSONField(default=list)  # of the last comparison
    agreed_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True)
    ships_after_at = models.DateTimeField()  # the end of its last lease, or when it was agreed
    step_at = models.DateTimeField()
    deadline_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)  # when the rules were asked last while it waits for them
    held_at = models.DateTimeField(null=True)  # since when the rules keep it from being shipped
    address = models.CharField(max_length=500, blank=True)  # as its buyer corrected it; empty: the bid's
    address_question = models.CharField(max_length=500, blank=True)  # what is wrong with it, says the seller
    address_questions = models.PositiveIntegerField(default=0)
    address_asked_at = models.DateTimeField(null=True)  # since when the seller waits for an answer
    carrier = models.CharField(max_length=40, blank=True)
    tracking = models.CharField(max_length=60, blank=True)
    shipped_at = models.DateTimeField(null=True)
    lab_received_at = models.DateTimeField(null=True)
    lab_passed_at = models.DateTimeField(null=True)
    onward_carrier = models.CharField(max_length=40, blank=True)
    onward_tracking = models.CharField(max_length=60, blank=True)
    received_at = models.DateTimeField(null=True)
    return_carrier = models.CharField(max_length=40, blank=True)
    return_tracking = models.CharField(max_length=60, blank=True)
    sent_back_at = models.DateTimeField(null=True)
    came_back_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="card_is_sold_once_at_a_time", fields=["card"], condition=Q(state__in=sorted(HOLDS_MONEY))
            ),
            models.CheckConstraint(
                name="sale_credit_not_overpaid", condition=Q(credit_paid_micros__lte=F("credit_micros"))
            ),
        ]
        indexes = [
            models.Index(name="sale_due", fields=["deadline_at"], condition=~Q(deadline_at=None)),
            models.Index(name="sale_of_buyer", fields=["buyer", "id"]),
            models.Index(name="sale_of_seller", fields=["seller", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.buyer_id, self.seller_id, *([self.lab_id] if self.lab_id else [])]

    @property
    def price(self) -> Landed:
        """What the buyer pays, in its parts."""
        return Landed(self.item_micros, self.shipping_micros, self.tax_micros, self.rent_credit_micros)

    @property
    def buyers_address(self) -> str:
        """Where its buyer wants it."""
        return self.address or self.bid.address

    @property
    def is_abroad(self) -> bool:
        return self.ships_from != self.ships_to

    @property
    def held_micros(self) -> int:
        """What its escrow holds."""
        return self.price.total_micros if self.state in HOLDS_MONEY else 0

    def facts(self) -> Facts:
        """What the table of silences asks."""
        return Facts(
            state=str(self.state),
            step_at=self.step_at,
            ship_clock_at=max(self.paid_at or self.agreed_at, self.ships_after_at),
            is_abroad=self.is_abroad,
            is_held=self.held_at is not None,
            is_address_asked=self.address_asked_at is not None,
            by_lab=self.route == Route.LAB,
            lab_received=self.lab_received_at is not None,
            lab_passed=self.lab_passed_at is not None,
            delivered=self.received_at is not None,
            sent_back=self.sent_back_at is not None,
            came_back=self.came_back_at is not None,
        )


class Dispute(models.Model):
    """The two sides do not agree about a sale; `opened_by` is empty when nobody but a clock opened it."""

    public_id = PublicIdField("dsp")
    sale = models.ForeignKey(Sale, on_delete=models.PROTECT, related_name="disputes")
    opened_by = models.ForeignKey(Firm, null=True, on_delete=models.PROTECT, related_name="disputes")
    reason = models.CharField(max_length=32)
    text = models.CharField(max_length=2000, blank=True)
    opened_at = models.DateTimeField()
    ruling = models.CharField(max_length=8, choices=Ruling, blank=True)
    refund_micros = models.BigIntegerField(null=True)
    ruling_text = models.CharField(max_length=2000, blank=True)
    ruled_by = models.ForeignKey(User, null=True, on_delete=models.PROTECT)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="one_open_dispute_per_sale", fields=["sale"], condition=Q(closed_at=None))
        ]


class Evidence(models.Model):
    """A message, a photo or both, of one side; append-only. `about` is the step in which it was given."""

    public_id = PublicIdField("evd")
    sale = models.ForeignKey(Sale, on_delete=models.PROTECT, related_name="evidence")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="evidence")
    actor = models.CharField(max_length=64)
    about = models.CharField(max_length=24)
    text = models.CharField(max_length=4000, blank=True)
    file = models.FileField(upload_to="evidence", blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
