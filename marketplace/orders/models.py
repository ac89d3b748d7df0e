"""The buyer's binding request for hours; its worst case lies in escrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from marketplace.accounts.models import Firm
from marketplace.common.ids import PublicIdField
from marketplace.orders.states import ORDER_TRANSITIONS, OrderState, TimeInForce


class Order(models.Model):
    """`count` cards of any of `gpus` for `duration_seconds`, at most `cap_micros` per GPU-hour."""

    STATES: ClassVar[Mapping[str, frozenset[str]]] = ORDER_TRANSITIONS
    EVENT: ClassVar[str] = "order"

    public_id = PublicIdField("ord")
    firm = models.ForeignKey(Firm, on_delete=models.PROTECT, related_name="orders")
    actor = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=OrderState, default=OrderState.OPEN)
    end_reason = models.CharField(max_length=32, blank=True)
    gpus = ArrayField(models.CharField(max_length=80))
    count = models.PositiveIntegerField()
    count_min = models.PositiveIntegerField(null=True)
    same_node = models.BooleanField(default=True)
    duration_seconds = models.PositiveIntegerField()
    cap_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    time_in_force = models.CharField(max_length=3, choices=TimeInForce)
    expires_at = models.DateTimeField()
    regions = ArrayField(models.CharField(max_length=40), default=list)
    countries = ArrayField(models.CharField(max_length=2), default=list)
    memory_mib_min = models.PositiveIntegerField(default=0)
    tier_min = models.CharField(max_length=10, default="declared")
    reliability_basis_points_min = models.PositiveSmallIntegerField(null=True)
    exclude_nodes = ArrayField(models.CharField(max_length=32), default=list)
    pinned_listing = models.CharField(max_length=32, blank=True)
    pinned_node = models.CharField(max_length=32, blank=True)
    pinned_memory_mib = models.PositiveIntegerField(null=True)  # a modified card beside a factory one is another offer
    workload = models.JSONField()  # image, command, env, ports, disk_gib, ssh_public_key
    registry_auth = models.JSONField(null=True)  # written by the buyer, shown to nobody, emptied when the order ends
    escrow_micros = models.BigIntegerField()
    seq = models.BigIntegerField(null=True)  # given by the matcher: its age
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="order_wants_something", condition=Q(count__gt=0, duration_seconds__gt=0, cap_micros__gt=0)
            )
        ]
        indexes = [
            models.Index(name="order_open", fields=["expires_at"], condition=Q(state="open")),
            models.Index(name="order_of_firm", fields=["firm", "id"]),
        ]

    @property
    def event_firm_ids(self) -> list[int]:
        return [self.firm_id]
