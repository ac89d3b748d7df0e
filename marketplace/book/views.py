"""The tapes over HTTP."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.book.selectors import card_tape, hours_tape
from marketplace.book.serializers import TapeQuery, TradeShape, card_trade_json, hours_trade_json
from marketplace.common.api import page, parse_query


class TradesView(APIView):
    """Every trade of a model, without names: hours, or with `kind=card` cards; public."""

    permission_classes = [AllowAny]

    @extend_schema(parameters=[TapeQuery], responses=TradeShape(many=True), operation_id="market_trades_list")
    def get(self, request: Request, gpu: str) -> Response:
        query = parse_query(TapeQuery, request)
        if query["kind"] == "card":
            return page(card_tape(gpu), query, card_trade_json)
        return page(hours_tape(gpu), query, hours_trade_json)
