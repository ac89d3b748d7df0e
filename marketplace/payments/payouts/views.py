"""Payouts and bank details in the API."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of, require
from marketplace.common import clock
from marketplace.common.addresses import client_address
from marketplace.common.api import PageQuery, page, parse, parse_query
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.payments.payouts.selectors import all_terms, details_of, payout_of, payouts_of
from marketplace.payments.payouts.serializers import (
    BankDetailsPage,
    BankDetailsRequestShape,
    BankDetailsShape,
    PayoutPage,
    PayoutQuery,
    PayoutRequestShape,
    PayoutShape,
    PayoutTermsShape,
    bank_details_json,
    payout_json,
    terms_json,
)
from marketplace.payments.payouts.services.asking import cancel_payout, request_payout
from marketplace.payments.payouts.services.details import change_bank_details, withdraw_bank_details


class PayoutListView(APIView):
    """Ask for earnings at the bank, and see what was asked for."""

    @extend_schema(parameters=[PayoutQuery], responses=PayoutPage, operation_id="payouts_list")
    def get(self, request: Request) -> Response:
        query = parse_query(PayoutQuery, request)
        payouts = payouts_of(caller_of(request).firm)
        if "state" in query:
            payouts = payouts.filter(state=query["state"])
        return page(payouts, query, payout_json)

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=PayoutRequestShape,
        responses={201: PayoutShape, 200: PayoutShape},
        operation_id="payouts_create",
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, "finance")
        body = parse(PayoutRequestShape, request.data)
        payout, is_new = request_payout(
            firm=caller.firm,
            currency=body["currency"],
            amount_micros=body["amount"],
            idempotency_key=request.headers.get("Idempotency-Key"),
            actor=caller.actor,
            now=clock.now(),
        )
        return Response(payout_json(payout), status=201 if is_new else 200)


class PayoutTermsView(APIView):
    """How much can be asked for, per currency."""

    @extend_schema(responses=PayoutTermsShape, operation_id="payouts_terms")
    def get(self, request: Request) -> Response:
        return Response({"data": [terms_json(each) for each in all_terms(caller_of(request).firm, clock.now())]})


class PayoutView(APIView):
    """One payout of the firm."""

    @extend_schema(responses=PayoutShape, operation_id="payouts_retrieve")
    def get(self, request: Request, payout_id: str) -> Response:
        return Response(payout_json(payout_of(caller_of(request).firm, payout_id)))


class PayoutCancelView(APIView):
    """Keep it here after all, while it is not sent."""

    @extend_schema(request=None, responses=PayoutShape, operation_id="payouts_cancel")
    def post(self, request: Request, payout_id: str) -> Response:
        caller = caller_of(request)
        payout_of(caller.firm, payout_id)
        require(caller, "finance")
        payout = cancel_payout(firm=caller.firm, payout_id=payout_id, actor=caller.actor, now=clock.now())
        return Response(payout_json(payout))


class BankDetailsListView(APIView):
    """Where the firm's money goes; the numbers are masked."""

    @extend_schema(parameters=[PageQuery], responses=BankDetailsPage, operation_id="bank_details_list")
    def get(self, request: Request) -> Response:
        now = clock.now()
        found = details_of(caller_of(request).firm)
        return page(found, parse_query(PageQuery, request), lambda each: bank_details_json(each, now))

    @extend_schema(
        request=BankDetailsRequestShape, responses={201: BankDetailsShape}, operation_id="bank_details_create"
    )
    def post(self, request: Request) -> Response:
        caller, now = caller_of(request), clock.now()
        require(caller, "admin")
        body = parse(BankDetailsRequestShape, request.data)
        details = change_bank_details(
            firm=caller.firm, person=caller.user, address=client_address(request), now=now, **body
        )
        return Response(bank_details_json(details, now), status=201)


class BankDetailsWithdrawView(APIView):
    """Take back a change that is still held."""

    @extend_schema(request=None, responses=BankDetailsShape, operation_id="bank_details_withdraw")
    def post(self, request: Request, details_id: str) -> Response:
        caller, now = caller_of(request), clock.now()
        details = withdraw_bank_details(firm=caller.firm, person=caller.user, details_id=details_id, now=now)
        return Response(bank_details_json(details, now))
