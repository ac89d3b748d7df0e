"""Shapes of deposits in the API."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers

from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json, page_shape
from marketplace.payments.gateway import Instructions
from marketplace.payments.models import Deposit
from marketplace.payments.states import DepositState


class DepositRequestShape(StrictSerializer):
    """The body of POST /deposits/."""

    amount = MicrosField()
    currency = serializers.ChoiceField(choices=settings.CURRENCIES)
    gateway = serializers.CharField(max_length=16, default="wire")


class DepositQuery(PageQuery):
    """Filters of the list."""

    state = serializers.ChoiceField(choices=DepositState.choices, required=False)


class DepositShape(serializers.Serializer[Any]):
    """A deposit in an answer; `instructions` while the money is waited for."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=DepositState.choices)
    amount = MoneyShape()
    received = MoneyShape(allow_null=True, help_text="what came, where a bank's statement says it")
    gateway = serializers.CharField()
    reference = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    confirmed_at = serializers.DateTimeField(allow_null=True)
    instructions = serializers.DictField(child=serializers.CharField(), allow_null=True)


DepositPage = page_shape("DepositPage", DepositShape)


def deposit_json(deposit: Deposit, instructions: Instructions | None) -> dict[str, Any]:
    """A deposit as the API shows it."""
    return {
        "id": deposit.public_id,
        "state": deposit.state,
        "amount": money_json(deposit.amount_micros, deposit.currency),
        "received": money_json(deposit.received_micros, deposit.currency),
        "gateway": deposit.gateway,
        "reference": deposit.reference,
        "created_at": deposit.created_at,
        "expires_at": deposit.expires_at,
        "confirmed_at": deposit.confirmed_at,
        "instructions": None
        if instructions is None
        else {"summary": instructions.summary} | dict(instructions.details),
    }
