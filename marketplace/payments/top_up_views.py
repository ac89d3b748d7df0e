"""Rules of automatic top-up in the API. Cards are saved on the gateway's page, so that is begun on ours."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of, require
from marketplace.common import clock
from marketplace.common.api import (
    MicrosField,
    MoneyShape,
    PageQuery,
    StrictSerializer,
    money_json,
    page,
    page_shape,
    parse,
    parse_query,
)
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.payments.models import TopUpRule
from marketplace.payments.selectors import rule_of, rules_of
from marketplace.payments.states import TopUpState
from marketplace.payments.top_ups import end_rule, set_rule


class TopUpRuleInput(StrictSerializer):
    """The body of POST /top-up-rules/: below how much of a currency the wallet is filled, and by how much."""

    currency = serializers.CharField(min_length=3, max_length=3)
    below = MicrosField()
    amount = MicrosField()


class TopUpRuleShape(serializers.Serializer[Any]):
    """A rule; `reason` says why it needs its firm."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=TopUpState.choices)
    reason = serializers.CharField(allow_null=True)
    currency = serializers.CharField()
    below = MoneyShape()
    amount = MoneyShape()
    created_at = serializers.DateTimeField()


class TopUpRulesView(APIView):
    """The firm's rules. One that is set for a wallet takes the place of the one before and is on."""

    @extend_schema(
        parameters=[PageQuery], responses=page_shape("TopUpRulePage", TopUpRuleShape), operation_id="top_up_rules_list"
    )
    def get(self, request: Request) -> Response:
        return page(rules_of(caller_of(request).firm), parse_query(PageQuery, request), _show)

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY], request=TopUpRuleInput, responses=TopUpRuleShape, operation_id="top_up_rules_set"
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, "finance")
        body = parse(TopUpRuleInput, request.data)
        rule = set_rule(
            firm=caller.firm,
            currency=body["currency"],
            below_micros=body["below"],
            amount_micros=body["amount"],
            key=request.headers.get("Idempotency-Key"),
            actor=caller.actor,
            now=clock.now(),
        )
        return Response(_show(rule))


class TopUpRuleView(APIView):
    """One of them."""

    @extend_schema(responses=TopUpRuleShape, operation_id="top_up_rules_retrieve")
    def get(self, request: Request, rule_id: str) -> Response:
        return Response(_show(rule_of(caller_of(request).firm, rule_id)))


class TopUpRuleStopView(APIView):
    """No more charges for this wallet; a charge that has begun goes on."""

    @extend_schema(request=None, responses=TopUpRuleShape, operation_id="top_up_rules_stop")
    def post(self, request: Request, rule_id: str) -> Response:
        caller = caller_of(request)
        rule_of(caller.firm, rule_id)
        require(caller, "finance")
        end_rule(firm=caller.firm, rule_id=rule_id, now=clock.now(), actor=caller.actor)
        return Response(_show(rule_of(caller.firm, rule_id)))


def _show(rule: TopUpRule) -> dict[str, object]:
    return {
        "id": rule.public_id,
        "state": rule.state,
        "reason": rule.reason if rule.state == TopUpState.NEEDS_YOU else None,
        "currency": rule.currency,
        "below": money_json(rule.below_micros, rule.currency),
        "amount": money_json(rule.amount_micros, rule.currency),
        "created_at": rule.created_at,
    }
