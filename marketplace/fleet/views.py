"""The advisor and the price guide over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of
from marketplace.accounts.models import Firm
from marketplace.catalogue.selectors import model_by_slug
from marketplace.common import clock
from marketplace.common.api import parse_query, take_page
from marketplace.fleet.advisor import Advisor
from marketplace.fleet.assumptions import BY_NAME
from marketplace.fleet.card_market import CardMarket
from marketplace.fleet.guide import Wanted, gibibytes
from marketplace.fleet.selectors import cards_named, cards_of
from marketplace.fleet.serializers import (
    AdvisorQuery,
    AdvisorShape,
    GuideQuery,
    GuideShape,
    card_json,
    guide_json,
    kind_json,
)
from nodes.models import Card

NO_GUIDE = "too few completed sales of such cards, and no launch price in this currency to model one from"


class AdvisorView(APIView):
    """Keep, rent or sell: for the fleet by kind of card, and for each card, with every number behind it."""

    @extend_schema(parameters=[AdvisorQuery], responses=AdvisorShape, operation_id="advisor")
    def get(self, request: Request) -> Response:
        firm, query = caller_of(request).firm, parse_query(AdvisorQuery, request)
        cards, currency = _asked(firm, query), query["currency"]
        given = {name: value for name, value in query.items() if name in BY_NAME}
        advisor = Advisor(firm, currency=currency, given=given, now=clock.now())
        kinds = advisor.kinds(cards)
        page = take_page(cards, query, newest_first=False)
        return Response(
            {
                "currency": currency,
                "fleet": [kind_json(kind, currency) for kind in kinds],
                "data": [card_json(row, currency) for row in advisor.cards(page.rows, kinds)],
                "next_cursor": page.next_cursor,
                "has_more": page.next_cursor is not None,
            }
        )


class GuideView(APIView):
    """What a card is worth, from completed sales; public, with what it is based on."""

    permission_classes = [AllowAny]

    @extend_schema(parameters=[GuideQuery], responses=GuideShape, operation_id="market_guide")
    def get(self, request: Request, gpu: str) -> Response:
        query, model = parse_query(GuideQuery, request), model_by_slug(gpu)
        wanted = Wanted(
            model_slug=model.slug,
            memory_mib=query.get("memory_mib"),
            currency=query["currency"],
            function_grade=query.get("grade_function", ""),
            appearance_grade=query.get("grade_appearance", ""),
            region=query.get("region", ""),
            is_modified=query["modified"] if query["modified"] is not None else _usually(query),
        )
        guide = CardMarket(wanted.currency, now=clock.now()).guide(wanted)
        head = {"gpu": model.slug, "memory_mib": wanted.memory_mib, "currency": wanted.currency}
        return Response(head | {"guide": guide_json(guide), "reason": None if guide else NO_GUIDE})


def _asked(firm: Firm, query: Mapping[str, Any]) -> QuerySet[Card]:
    cards = cards_named(firm, query["card"]) if query.get("card") else cards_of(firm)
    if gpu := query.get("gpu"):
        cards = cards.filter(gpu_model__slug=gpu)
    if memory_mib := query.get("memory_mib"):
        middle = gibibytes(memory_mib) * 1024
        cards = cards.filter(memory_mib__gt=middle - 512, memory_mib__lte=middle + 512)
    return cards


def _usually(query: Mapping[str, Any]) -> bool | None:
    """Without a memory size a factory card is meant; a size says by itself what it is."""
    return None if query.get("memory_mib") else False
