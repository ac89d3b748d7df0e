"""Shapes of deposits in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json, page_shape
from marketplace.payments.gateway import Instructions
from marketplace.payments.models import Deposit, DepositRefund
from marketplace.payments.states import DepositState, TransferState


class DepositRequestShape(StrictSerializer):
    """The body of POST /deposits/."""

    amount = MicrosField()
    currency = serializers.CharField(min_length=3, max_length=3)
    gateway = serializers.CharField(max_length=16, default="wire")


class RefundRequestShape(StrictSerializer):
    """The body of POST /deposits/{id}/refund/."""

    amount = MicrosField()


class RefundShape(serializers.Serializer[Any]):
    """A part of a deposit on its way back to where it came from."""

    id = serializers.CharField()
    deposit = serializers.CharField()
    state = serializers.ChoiceField(choices=TransferState.choices)
    amount = MoneyShape()
    created_at = serializers.DateTimeField()


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


def _instructions_json(instructions: Instructions) -> dict[str, str]:
    """Labels and values; a gateway with a page has `pay_url`, empty until the page is open."""
    page = {} if instructions.details else {"pay_url": instructions.pay_url}
    return {"summary": instructions.summary} | dict(instructions.details) | page


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
        "instructions": None if instructions is None else _instructions_json(instructions),
    }


def refund_json(refund: DepositRefund) -> dict[str, Any]:
    """A refund as the API shows it."""
    return {
        "id": refund.public_id,
        "deposit": refund.deposit.public_id,
        "state": refund.state,
        "amount": money_json(refund.amount_micros, refund.deposit.currency),
        "created_at": refund.created_at,
    }
