"""Shapes of the tapes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.book.models import CardTrade, Trade
from marketplace.common.api import MoneyShape, PageQuery, money_json

KINDS = ("capacity", "card")


class TapeQuery(PageQuery):
    """Filters of GET /market/{gpu}/trades/."""

    kind = serializers.ChoiceField(choices=KINDS, default="capacity")


class TradeShape(serializers.Serializer[Any]):
    """A line of a tape. Of hours: `region`, `count`, `duration_seconds`; of cards: everything else."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=KINDS)
    at = serializers.DateTimeField()
    gpu = serializers.CharField()
    price = MoneyShape()
    currency = serializers.CharField()
    region = serializers.CharField()
    count = serializers.IntegerField()
    duration_seconds = serializers.IntegerField(required=False)
    memory_mib = serializers.IntegerField(required=False)
    is_modified = serializers.BooleanField(required=False)
    grade_function = serializers.CharField(required=False)
    grade_appearance = serializers.CharField(required=False)
    delivered_at = serializers.DateTimeField(required=False, allow_null=True)


def card_trade_json(trade: CardTrade) -> dict[str, Any]:
    """A card trade without names."""
    return {
        "id": trade.public_id,
        "kind": "card",
        "at": trade.at,
        "gpu": trade.gpu,
        "price": money_json(trade.price_micros, trade.currency),
        "currency": trade.currency,
        "region": trade.zone,
        "count": 1,
        "memory_mib": trade.memory_mib,
        "is_modified": trade.is_modified,
        "grade_function": trade.function_grade,
        "grade_appearance": trade.appearance_grade,
        "delivered_at": trade.delivered_at,
    }


def hours_trade_json(trade: Trade) -> dict[str, Any]:
    """A trade of hours without names; the price is per GPU-hour."""
    return {
        "id": trade.public_id,
        "kind": "capacity",
        "at": trade.at,
        "gpu": trade.gpu,
        "price": money_json(trade.price_micros_per_gpu_hour, trade.currency),
        "currency": trade.currency,
        "region": trade.region,
        "count": trade.card_count,
        "duration_seconds": trade.duration_seconds,
    }
