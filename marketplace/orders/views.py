"""Orders over HTTP."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from listings.offers import read_offer_token
from listings.serializers import offer_json, relaxation_json
from marketplace.accounts.authentication import caller_of, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import money_json, page, parse, parse_query
from marketplace.common.errors import Conflict
from marketplace.common.hints import ring
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.orders.models import Order
from marketplace.orders.previews import Preview, preview_order
from marketplace.orders.selectors import order_of, orders_of
from marketplace.orders.serializers import OrderInput, OrderQuery, OrderShape, PreviewInput, order_json, order_request
from marketplace.orders.services.closing import request_cancel_once
from marketplace.orders.services.placing import place_order_once
from marketplace.orders.services.waiting import is_closed, wait_until, was_seen
from marketplace.orders.states import OrderReason, OrderState

GONE: dict[str, str] = {OrderReason.OFFER_GONE: "the offer is gone", OrderReason.NO_MATCH: "nothing matched at once"}
WAIT_SECONDS = 2
WAIT_SECONDS_MAX = 30
PREFER = OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="`wait=N`: seconds, at most 30")


class OrdersView(APIView):
    """A firm's orders."""

    @extend_schema(parameters=[OrderQuery], responses=OrderShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(OrderQuery, request)
        orders = orders_of(caller_of(request).firm)
        if state := query.get("state"):
            orders = orders.filter(state=state)
        return page(orders, query, order_json)

    @extend_schema(
        request=OrderInput, parameters=[IDEMPOTENCY_KEY, PREFER], responses={201: OrderShape, 202: OrderShape}
    )
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, Scope.TRADE)
        wanted = order_request(parse(OrderInput, request.data))
        order = place_order_once(
            firm=caller.firm,
            actor=caller.actor,
            request=wanted,
            key=request.headers.get("Idempotency-Key"),
            body=request.data,
            now=clock.now(),
        )
        ring("inbox")
        wait_until(order, was_seen, seconds=_wait_seconds(request))
        return _outcome(order_of(caller.firm, order.public_id))


class OrderView(APIView):
    """One order."""

    @extend_schema(responses=OrderShape)
    def get(self, request: Request, order_id: str) -> Response:
        return Response(order_json(order_of(caller_of(request).firm, order_id)))


class CancelOrderView(APIView):
    """Take an order out of the book. Repeating it changes nothing."""

    @extend_schema(parameters=[IDEMPOTENCY_KEY, PREFER], request=None, responses={200: OrderShape, 202: OrderShape})
    def post(self, request: Request, order_id: str) -> Response:
        caller = caller_of(request)
        order_of(caller.firm, order_id)
        require(caller, Scope.TRADE)
        key = request.headers.get("Idempotency-Key")
        order = request_cancel_once(firm=caller.firm, public_id=order_id, actor=caller.actor, key=key, now=clock.now())
        ring("inbox")
        order = wait_until(order, is_closed, seconds=_wait_seconds(request))
        return Response(order_json(order), status=200 if order.state != OrderState.OPEN else 202)


class PreviewOrderView(APIView):
    """The all-in total before commitment, and the exact body to POST."""

    @extend_schema(request=PreviewInput, responses=dict)
    def post(self, request: Request) -> Response:
        now = clock.now()
        values = parse(PreviewInput, request.data)
        if values.get("offer"):
            values["offer_token"] = read_offer_token(values["offer"], now=now)
        preview = preview_order(firm=caller_of(request).firm, body=dict(request.data), values=values, now=now)
        return Response(_preview_json(preview))


def _outcome(order: Order) -> Response:
    if order.state == OrderState.CANCELLED and order.end_reason in GONE:
        raise Conflict(f"{GONE[order.end_reason]}; your money is back in the wallet", code=order.end_reason)
    return Response(order_json(order), status=202 if order.seq is None else 201)


def _wait_seconds(request: Request) -> float:
    found = re.search(r"\bwait=(\d{1,4})\b", request.headers.get("Prefer", ""))
    return min(int(found[1]), WAIT_SECONDS_MAX) if found else WAIT_SECONDS


def _preview_json(preview: Preview) -> dict[str, Any]:
    now = clock.now()
    return {
        "offer": offer_json(preview.offer, now=now) if preview.offer else None,
        "price_per_gpu_hour": money_json(preview.price_micros_per_gpu_hour, preview.currency),
        "total": money_json(preview.total_micros, preview.currency),
        "fee": money_json(0, preview.currency),
        "available": money_json(preview.available_micros, preview.currency),
        "is_affordable": preview.total_micros is not None and preview.total_micros <= preview.available_micros,
        "quote_expires_at": preview.quote_expires_at,
        "order": preview.order,
        "relaxations": [relaxation_json(each, preview.currency) for each in preview.relaxations],
    }
