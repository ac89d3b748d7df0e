"""Deposits in the API: firms announce, operators confirm."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import ApiKeyAuthentication, Caller, caller_of, require, session_caller
from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.api import page, parse, parse_query
from marketplace.common.errors import NotAllowed, Unauthorised
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.payments import services
from marketplace.payments.models import Deposit
from marketplace.payments.refunds import refund_deposit
from marketplace.payments.selectors import any_deposit, deposit_of, deposits_of, instructions_for
from marketplace.payments.serializers import (
    DepositPage,
    DepositQuery,
    DepositRequestShape,
    DepositShape,
    RefundRequestShape,
    RefundShape,
    deposit_json,
    refund_json,
)


class DepositListView(APIView):
    """Announce money, and see what was announced."""

    @extend_schema(parameters=[DepositQuery], responses=DepositPage, operation_id="deposits_list")
    def get(self, request: Request) -> Response:
        query = parse_query(DepositQuery, request)
        deposits = deposits_of(caller_of(request).firm)
        if "state" in query:
            deposits = deposits.filter(state=query["state"])
        return page(deposits, query, _show)

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=DepositRequestShape,
        responses={201: DepositShape, 200: DepositShape},
        operation_id="deposits_create",
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, "finance")
        body = parse(DepositRequestShape, request.data)
        deposit, is_new = services.start_deposit(
            firm=caller.firm,
            currency=body["currency"],
            amount_micros=body["amount"],
            gateway=body["gateway"],
            idempotency_key=request.headers.get("Idempotency-Key"),
            actor=caller.actor,
            now=clock.now(),
        )
        return Response(_show(deposit), status=201 if is_new else 200)


class DepositView(APIView):
    """One deposit of the firm."""

    @extend_schema(responses=DepositShape, operation_id="deposits_retrieve")
    def get(self, request: Request, public_id: str) -> Response:
        return Response(_show(deposit_of(caller_of(request).firm, public_id)))


class DepositCancelView(APIView):
    """The firm will not pay after all."""

    @extend_schema(request=None, responses=DepositShape, operation_id="deposits_cancel")
    def post(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        deposit_of(caller.firm, public_id)
        require(caller, "finance")
        deposit = services.cancel_deposit(firm=caller.firm, deposit_id=public_id, actor=caller.actor, now=clock.now())
        return Response(_show(deposit))


class DepositRefundView(APIView):
    """A part of a deposit goes back to the instrument that it came from."""

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=RefundRequestShape,
        responses={201: RefundShape, 200: RefundShape},
        operation_id="deposits_refund",
    )
    def post(self, request: Request, public_id: str) -> Response:
        caller = caller_of(request)
        deposit_of(caller.firm, public_id)
        require(caller, "finance")
        body = parse(RefundRequestShape, request.data)
        refund, is_new = refund_deposit(
            firm=caller.firm,
            deposit_id=public_id,
            amount_micros=body["amount"],
            key=request.headers.get("Idempotency-Key"),
            actor=caller.actor,
            now=clock.now(),
        )
        return Response(refund_json(refund), status=201 if is_new else 200)


class DepositConfirmView(APIView):
    """An operator, signed in on the pages, says that the money is there. Repeating it changes nothing."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]

    @extend_schema(parameters=[IDEMPOTENCY_KEY], request=None, responses=DepositShape, operation_id="deposits_confirm")
    def post(self, request: Request, public_id: str) -> Response:
        operator = _operator_for(request, public_id)
        key = request.headers.get("Idempotency-Key")
        deposit = services.confirm_deposit_once(operator=operator, deposit_id=public_id, key=key, now=clock.now())
        return Response(_show(deposit))


def _operator_for(request: Request, public_id: str) -> User:
    if isinstance(request.user, User) and request.user.is_operator:
        any_deposit(public_id)
        return request.user
    caller = request.auth if isinstance(request.auth, Caller) else session_caller(request._request)
    if caller is None:
        raise Unauthorised("sign in as an operator")
    deposit_of(caller.firm, public_id)
    raise NotAllowed("only an operator confirms deposits", code="operators_only")


def _show(deposit: Deposit) -> dict[str, object]:
    return deposit_json(deposit, instructions_for(deposit))
