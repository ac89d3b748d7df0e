"""Shapes of orders."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from listings.states import TIERS
from marketplace.common.api import MicrosField, MoneyShape, PageQuery, RatioField, StrictSerializer, money_json
from marketplace.common.money import PRICE_TICK_MICROS
from marketplace.orders.models import Order
from marketplace.orders.services.placing import OrderRequest
from marketplace.orders.states import OrderState, TimeInForce
from marketplace.orders.workloads import ImageField, RegistryAuthShape, check_size, check_variables, workload_of

COUNT_MAX = 64
SSH_KEY = (
    r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com)"
    r" [A-Za-z0-9+/=]{16,2000}( [^\r\n]{0,200})?$"
)


class OrderInput(StrictSerializer):
    """The body of POST /orders/ and /orders/preview/. A preview may leave out the price."""

    gpu = serializers.ListField(child=serializers.SlugField(max_length=80), max_length=20, required=False)
    offer = serializers.CharField(max_length=400, required=False, allow_null=True)
    count = serializers.IntegerField(min_value=1, max_value=COUNT_MAX, default=1)
    min_count = serializers.IntegerField(min_value=1, max_value=COUNT_MAX, required=False, allow_null=True)
    same_node = serializers.BooleanField(default=True)
    start_at = serializers.DateTimeField(required=False, allow_null=True)
    duration_seconds = serializers.IntegerField(min_value=60, max_value=90 * 24 * 3600)
    max_price_per_gpu_hour = MicrosField(tick_micros=PRICE_TICK_MICROS)
    currency = serializers.CharField(max_length=3, default="USD")
    time_in_force = serializers.ChoiceField(choices=TimeInForce.choices, required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    region = serializers.ListField(child=serializers.CharField(max_length=40), max_length=20, default=list)
    country = serializers.ListField(child=serializers.CharField(max_length=2), max_length=50, default=list)
    memory_mib__gte = serializers.IntegerField(min_value=0, max_value=10**7, default=0)
    tier = serializers.ChoiceField(choices=TIERS, default="declared")
    reliability__gte = RatioField(default=0)
    exclude_nodes = serializers.ListField(child=serializers.CharField(max_length=32), max_length=100, default=list)
    interruptible = serializers.BooleanField(required=False, allow_null=True)
    image = ImageField()
    registry_auth = RegistryAuthShape(required=False, allow_null=True, write_only=True)
    command = serializers.ListField(
        child=serializers.CharField(max_length=4000, trim_whitespace=False), max_length=100, required=False
    )
    env = serializers.DictField(
        child=serializers.CharField(max_length=4000, allow_blank=True, trim_whitespace=False),
        default=dict,
        validators=[check_variables],
    )
    ports = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=65535), max_length=10, default=list
    )
    disk_gib = serializers.IntegerField(min_value=1, max_value=4096, default=10)
    ssh_public_key = serializers.RegexField(SSH_KEY, max_length=2300)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("start_at"):
            raise serializers.ValidationError({"start_at": "orders start now: leave this out or null"})
        if attrs.get("min_count") and attrs["min_count"] > attrs["count"]:
            raise serializers.ValidationError({"min_count": "not more than count"})
        if attrs.get("min_count") and attrs.get("time_in_force") == TimeInForce.FOK:
            raise serializers.ValidationError({"min_count": "`fok` is all or nothing: leave one of the two out"})
        if attrs.get("interruptible"):
            raise serializers.ValidationError({"interruptible": "not yet: every lease is firm"})
        check_size(attrs)
        return attrs


class PreviewInput(OrderInput):
    """As an order; without a price the best one in the book is taken."""

    max_price_per_gpu_hour = MicrosField(tick_micros=PRICE_TICK_MICROS, required=False)
    image = ImageField(required=False)
    ssh_public_key = serializers.RegexField(SSH_KEY, max_length=2300, required=False)


class OrderQuery(PageQuery):
    """Filters of GET /orders/."""

    state = serializers.ChoiceField(choices=OrderState.choices, required=False)


class OrderShape(serializers.Serializer[Order]):
    """An order in an answer."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=OrderState.choices)
    end_reason = serializers.CharField(allow_null=True)
    gpu = serializers.ListField(child=serializers.CharField())
    count = serializers.IntegerField()
    min_count = serializers.IntegerField(allow_null=True)
    same_node = serializers.BooleanField()
    duration_seconds = serializers.IntegerField()
    max_price_per_gpu_hour = MoneyShape()
    currency = serializers.CharField()
    time_in_force = serializers.ChoiceField(choices=TimeInForce.choices)
    expires_at = serializers.DateTimeField()
    escrow = MoneyShape()
    image = serializers.CharField()
    leases = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


def order_request(values: dict[str, Any]) -> OrderRequest:
    """A validated body as the service takes it."""
    default = TimeInForce.IOC if values.get("offer") else TimeInForce.GTC
    if values.get("expires_at") and not values.get("time_in_force"):
        default = TimeInForce.GTD
    return OrderRequest(
        gpus=tuple(values.get("gpu") or ()),
        offer=values.get("offer"),
        count=values["count"],
        count_min=values.get("min_count"),
        same_node=values["same_node"],
        duration_seconds=values["duration_seconds"],
        cap_micros=values["max_price_per_gpu_hour"],
        currency=values["currency"],
        time_in_force=values.get("time_in_force") or default,
        expires_at=values.get("expires_at"),
        regions=tuple(values["region"]),
        countries=tuple(values["country"]),
        memory_mib_min=values["memory_mib__gte"],
        tier_min=values["tier"],
        reliability_basis_points_min=values["reliability__gte"] or None,
        exclude_nodes=tuple(values["exclude_nodes"]),
        registry_auth=values.get("registry_auth"),
        workload=workload_of(values),
    )


def order_json(order: Order) -> dict[str, Any]:
    """An order as the API shows it."""
    return {
        "id": order.public_id,
        "state": order.state,
        "end_reason": order.end_reason or None,
        "gpu": order.gpus,
        "count": order.count,
        "min_count": order.count_min,
        "same_node": order.same_node,
        "duration_seconds": order.duration_seconds,
        "max_price_per_gpu_hour": money_json(order.cap_micros, order.currency),
        "currency": order.currency,
        "time_in_force": order.time_in_force,
        "expires_at": order.expires_at,
        "escrow": money_json(order.escrow_micros, order.currency),
        "image": order.workload.get("image"),
        "leases": [lease.public_id for lease in order.leases.all()],
        "created_at": order.created_at,
        "closed_at": order.closed_at,
    }
