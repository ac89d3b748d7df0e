"""Hours sold: these cards, this buyer, this price, this window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.db import models
from django.db.models import Q

from listings.models import CapacityListing
from marketplace.accounts.models import Firm
from marketplace.common.ids import PublicIdField
from marketplace.leases.states import LEASE_TRANSITIONS, LeaseState
from marketplace.orders.models import Order
from nodes.models import Card, Claim, Node


class Lease(models.Model):
    """Price and fee are frozen when it is made. The paid window is [active_at, ends_at).

    `gpu_ms` are the proven usable GPU-milliseconds so far, of which `frozen_gpu_ms` up to `frozen_through_at` can't
    change any more. `settled_micros` and `seller_micros` are what was posted of it, cumulative.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = LEASE_TRANSITIONS
    EVENT: ClassVar[str] = "lease"

    public_id = PublicIdField("lse")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="leases")
    buyer = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="leases_bought")
    seller = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="leases_sold")
    listing = models.ForeignKey(CapacityListing, on_delete=models.PROTECT, related_name="leases")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="leases")
    state = models.CharField(max_length=8, choices=LeaseState, default=LeaseState.RESERVED)
    end_reason = models.CharField(max_length=32, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    gpu = models.CharField(max_length=80)
    card_count = models.PositiveIntegerField()
    duration_seconds = models.PositiveIntegerField()
    duration_seconds_min = models.PositiveIntegerField()
    price_micros_per_gpu_hour = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    fee_basis_points = models.PositiveIntegerField()
    escrow_micros = models.BigIntegerField()  # price × cards × duration: the most that it can cost
    reserved_at = models.DateTimeField()
    probed_at = models.DateTimeField(null=True)  # when somebody last tried to reach its container
    deadline_at = models.DateTimeField(null=True)  # when its present state ends at the latest
    active_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)  # the last moment that can be charged
    closed_at = models.DateTimeField(null=True)
    cards_freed_at = models.DateTimeField(null=True)
    gpu_ms = models.BigIntegerField(default=0)
    frozen_gpu_ms = models.BigIntegerField(default=0)
    frozen_through_at = models.DateTimeField(null=True)
    proven_until_at = models.DateTimeField(null=True)
    settled_micros = models.BigIntegerField(default=0)
    seller_micros = models.BigIntegerField(default=0)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="lease_charge_within_escrow", condition=Q(settled_micros__lte=models.F("escrow_micros"))
            ),
        ]
        indexes = [
            models.Index(
                name="lease_live",
                fields=["deadline_at"],
                condition=Q(state__in=["reserved", "starting", "active", "ending"]),
            ),
            models.Index(name="lease_cards_held", fields=["id"], condition=Q(cards_freed_at=None)),
            models.Index(name="lease_by_close", fields=["closed_at"]),
            models.Index(name="lease_of_buyer", fields=["buyer", "id"]),
            models.Index(name="lease_of_seller", fields=["seller", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.buyer_id, self.seller_id]


class ProvingLease(models.Model):
    """A lease of the platform's own, on one card of a node that is not proven: no order, no price, no money.

    Its claim, its states, its command and its way on the node are those of every lease.
    """

    STATES: ClassVar[Mapping[str, frozenset[str]]] = LEASE_TRANSITIONS
    EVENT: ClassVar[str] = "proving_lease"

    public_id = PublicIdField("prv")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="proving_leases")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="proving_leases")
    state = models.CharField(max_length=8, choices=LeaseState, default=LeaseState.RESERVED)
    end_reason = models.CharField(max_length=32, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    duration_seconds = models.PositiveIntegerField()
    reserved_at = models.DateTimeField()
    probed_at = models.DateTimeField(null=True)  # when somebody last tried to reach its container
    deadline_at = models.DateTimeField(null=True)  # when its present state ends at the latest
    active_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    cards_freed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_proving_lease_on_a_node", fields=["node"], condition=Q(cards_freed_at=None)
            )
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.node.firm_id]


class LeaseCard(models.Model):
    """A card of a lease, with the claim that gives the right to it and the epoch of its assignment."""

    lease = models.ForeignKey(Lease, on_delete=models.PROTECT, related_name="lease_cards")
    card = models.ForeignKey(Card, on_delete=models.PROTECT, related_name="lease_cards")
    claim = models.OneToOneField(Claim, null=True, on_delete=models.SET_NULL, related_name="lease_card")

    class Meta:
        constraints = [models.UniqueConstraint(name="lease_has_a_card_once", fields=["lease", "card"])]
