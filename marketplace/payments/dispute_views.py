"""Disputed payments of a firm, in the API: what is held and owed. They are answered by operators."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of
from marketplace.common.api import MoneyShape, PageQuery, money_json, page, page_shape, parse_query
from marketplace.payments.models import PaymentDispute
from marketplace.payments.selectors import dispute_of, disputes_of
from marketplace.payments.states import PaymentDisputeState


class PaymentDisputeShape(serializers.Serializer[Any]):
    """A deposit that its payer's bank has taken back, or may; `owed` is set off against what comes in."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=PaymentDisputeState.choices)
    deposit = serializers.CharField()
    reason = serializers.CharField()
    amount = MoneyShape()
    held = MoneyShape()
    owed = MoneyShape()
    answer_by = serializers.DateTimeField(allow_null=True)
    opened_at = serializers.DateTimeField()


class PaymentDisputeQuery(PageQuery):
    """Filters of the list."""

    state = serializers.ChoiceField(choices=PaymentDisputeState.choices, required=False)


class PaymentDisputesView(APIView):
    """The firm's disputed payments."""

    @extend_schema(
        parameters=[PaymentDisputeQuery],
        responses=page_shape("PaymentDisputePage", PaymentDisputeShape),
        operation_id="payment_disputes_list",
    )
    def get(self, request: Request) -> Response:
        query = parse_query(PaymentDisputeQuery, request)
        disputes = disputes_of(caller_of(request).firm)
        if "state" in query:
            disputes = disputes.filter(state=query["state"])
        return page(disputes, query, _show)


class PaymentDisputeView(APIView):
    """One of them."""

    @extend_schema(responses=PaymentDisputeShape, operation_id="payment_disputes_retrieve")
    def get(self, request: Request, dispute_id: str) -> Response:
        return Response(_show(dispute_of(caller_of(request).firm, dispute_id)))


def _show(dispute: PaymentDispute) -> dict[str, object]:
    currency = dispute.deposit.currency
    is_owed = dispute.state != PaymentDisputeState.WON
    return {
        "id": dispute.public_id,
        "state": dispute.state,
        "deposit": dispute.deposit.public_id,
        "reason": dispute.reason,
        "amount": money_json(dispute.amount_micros, currency),
        "held": money_json(dispute.held_micros if is_owed else 0, currency),
        "owed": money_json(dispute.missing_micros if is_owed else 0, currency),
        "answer_by": dispute.answer_by,
        "opened_at": dispute.opened_at,
    }
