"""A seller's account at the gateway, in the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of, require
from marketplace.accounts.models import Firm
from marketplace.common import clock
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.payments.sellers import account_of, onboarding_url, open_account, way_of_paying
from marketplace.payments.states import SellerAccountState


class SellerAccountShape(serializers.Serializer[Any]):
    """How the firm is paid. `state` is null without an account, `due` is what the gateway still asks for."""

    gateway = serializers.CharField()
    state = serializers.ChoiceField(choices=SellerAccountState.choices, allow_null=True)
    due = serializers.ListField(child=serializers.CharField())


class OnboardingLinkShape(serializers.Serializer[Any]):
    """A page of the gateway's that works once and soon ends."""

    url = serializers.URLField()


class SellerAccountView(APIView):
    """How the firm is paid, and opening an account where Stripe serves its country."""

    @extend_schema(responses=SellerAccountShape, operation_id="seller_account_retrieve")
    def get(self, request: Request) -> Response:
        return Response(_show(caller_of(request).firm))

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={201: SellerAccountShape, 200: SellerAccountShape},
        operation_id="seller_account_create",
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, "finance")
        key = request.headers.get("Idempotency-Key")
        _, is_new = open_account(firm=caller.firm, idempotency_key=key, actor=caller.actor, now=clock.now())
        return Response(_show(caller.firm), status=201 if is_new else 200)


class OnboardingLinkView(APIView):
    """A fresh link to the hosted form, for one click."""

    @extend_schema(request=None, responses={201: OnboardingLinkShape}, operation_id="seller_account_link_create")
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, "finance")
        return Response({"url": onboarding_url(caller.firm)}, status=201)


def _show(firm: Firm) -> dict[str, object]:
    account = account_of(firm)
    return {
        "gateway": way_of_paying(firm),
        "state": account.state if account else None,
        "due": account.due if account else [],
    }
