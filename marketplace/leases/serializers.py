"""Shapes of leases."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.accounts.models import Firm
from marketplace.common.api import MoneyShape, PageQuery, money_json
from marketplace.leases.models import Lease
from marketplace.leases.selectors import Access
from marketplace.leases.states import LeaseState
from nodes.agent.protocol import LOG_LENGTH_MAX
from nodes.models import AssignmentLog

MS_PER_SECOND = 1000


class LeaseQuery(PageQuery):
    """Filters of GET /leases/. `side` is `buyer` or `seller`."""

    state = serializers.ChoiceField(choices=LeaseState.choices, required=False)
    side = serializers.ChoiceField(choices=("buyer", "seller"), required=False)


class LeaseShape(serializers.Serializer[Lease]):
    """A lease in an answer."""

    id = serializers.CharField()
    side = serializers.ChoiceField(choices=("buyer", "seller"))
    order = serializers.CharField(allow_null=True)
    state = serializers.ChoiceField(choices=LeaseState.choices)
    end_reason = serializers.CharField(allow_null=True)
    detail = serializers.CharField(allow_null=True)
    gpu = serializers.CharField()
    cards = serializers.ListField(child=serializers.DictField())
    node = serializers.CharField()
    price_per_gpu_hour = MoneyShape()
    duration_seconds = serializers.IntegerField()
    reserved_at = serializers.DateTimeField()
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    usable_seconds = serializers.IntegerField(help_text="GPU-seconds that reports have proved")
    charged = MoneyShape()
    earned = MoneyShape(allow_null=True)
    ssh = serializers.DictField(allow_null=True)
    progress = serializers.DictField(allow_null=True)


class UsageShape(serializers.Serializer[Lease]):
    """What a lease has used, and how its charge is made."""

    gpu_ms = serializers.IntegerField()
    frozen_gpu_ms = serializers.IntegerField()
    proven_until = serializers.DateTimeField(allow_null=True)
    charged = MoneyShape()
    seller_share = MoneyShape()
    fee = MoneyShape()
    fee_basis_points = serializers.IntegerField()
    formula = serializers.CharField()


class LogShape(serializers.Serializer[AssignmentLog]):
    """The last of what a workload wrote."""

    text = serializers.CharField(help_text=f"at most {LOG_LENGTH_MAX} characters, both streams")
    observed_at = serializers.DateTimeField(allow_null=True)


def lease_json(lease: Lease, firm: Firm, access: Access | None) -> dict[str, Any]:
    """A lease as one of its two parties sees it; only the buyer gets the way in."""
    is_buyer = lease.buyer_id == firm.pk
    return {
        "id": lease.public_id,
        "side": "buyer" if is_buyer else "seller",
        "order": lease.order.public_id if is_buyer else None,
        "state": lease.state,
        "end_reason": lease.end_reason or None,
        "detail": lease.detail or None,
        "gpu": lease.gpu,
        "cards": [
            {"id": each.card.public_id, "memory_mib": each.card.memory_mib, "modified": each.card.is_modified}
            for each in lease.lease_cards.all()
        ],
        "node": lease.node.public_id,
        "price_per_gpu_hour": money_json(lease.price_micros_per_gpu_hour, lease.currency),
        "duration_seconds": lease.duration_seconds,
        "reserved_at": lease.reserved_at,
        "starts_at": lease.active_at,
        "ends_at": lease.ends_at,
        "ended_at": lease.ended_at,
        "usable_seconds": lease.gpu_ms // MS_PER_SECOND,
        "charged": money_json(lease.settled_micros, lease.currency),
        "earned": None if is_buyer else money_json(lease.seller_micros, lease.currency),
        "ssh": access.ssh if access and is_buyer else None,
        "progress": access.progress if access else None,
    }


def usage_json(lease: Lease) -> dict[str, Any]:
    """The numbers behind a charge."""
    return {
        "gpu_ms": lease.gpu_ms,
        "frozen_gpu_ms": lease.frozen_gpu_ms,
        "proven_until": lease.proven_until_at,
        "charged": money_json(lease.settled_micros, lease.currency),
        "seller_share": money_json(lease.seller_micros, lease.currency),
        "fee": money_json(lease.settled_micros - lease.seller_micros, lease.currency),
        "fee_basis_points": lease.fee_basis_points,
        "formula": "charged = floor(price per GPU-hour × gpu_ms / 3 600 000), in micros",
    }


def log_json(log: AssignmentLog | None) -> dict[str, Any]:
    """What a workload wrote last; nothing yet is an empty text."""
    return {"text": log.text if log else "", "observed_at": log.at if log else None}
