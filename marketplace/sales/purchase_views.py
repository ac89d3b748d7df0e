"""Cards paid by card, in the API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from listings.cards.selectors import visible_card_listing
from marketplace.accounts.authentication import caller_of, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import MoneyShape, PageQuery, money_json, page, page_shape, parse, parse_query
from marketplace.common.openapi import IDEMPOTENCY_KEY
from marketplace.events.services import is_remembered
from marketplace.sales.models import CardPurchase
from marketplace.sales.selectors import purchase_of, purchases_of
from marketplace.sales.serializers import BuyInput, take_of
from marketplace.sales.services.purchases import buy_by_card_once
from marketplace.sales.states import PurchaseState


class CardPurchaseShape(serializers.Serializer[Any]):
    """A purchase that a card pays: the page is in the instructions of `deposit`, and `bid` is what it bought."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=PurchaseState.choices)
    end_reason = serializers.CharField(allow_null=True)
    listing = serializers.CharField()
    count = serializers.IntegerField()
    total = MoneyShape(help_text="the most that all of it costs")
    paid_by_card = MoneyShape(help_text="what the wallet lacked of it")
    deposit = serializers.CharField()
    bid = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class CardPurchaseQuery(PageQuery):
    """Filters of GET /card-purchases/."""

    state = serializers.ChoiceField(choices=PurchaseState.choices, required=False)


class BuyByCardView(APIView):
    """Pay by card what the wallet lacks; the cards are taken when the money is there."""

    @extend_schema(
        request=BuyInput,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: CardPurchaseShape, 200: CardPurchaseShape},
        operation_id="card_listings_buy_by_card",
    )
    def post(self, request: Request, listing_id: str) -> Response:
        caller, key = caller_of(request), request.headers.get("Idempotency-Key")
        if not is_remembered(firm_id=caller.firm.pk, key=key):
            visible_card_listing(caller.firm, listing_id)
        require(caller, Scope.TRADE)
        purchase, is_new = buy_by_card_once(
            firm=caller.firm,
            actor=caller.actor,
            take=take_of(listing_id, parse(BuyInput, request.data)),
            key=key,
            body={"listing": listing_id, "by_card": request.data},
            now=clock.now(),
        )
        return Response(_show(purchase), status=201 if is_new else 200)


class CardPurchasesView(APIView):
    """What the firm buys by card."""

    @extend_schema(
        parameters=[CardPurchaseQuery],
        responses=page_shape("CardPurchasePage", CardPurchaseShape),
        operation_id="card_purchases_list",
    )
    def get(self, request: Request) -> Response:
        query = parse_query(CardPurchaseQuery, request)
        purchases = purchases_of(caller_of(request).firm)
        if state := query.get("state"):
            purchases = purchases.filter(state=state)
        return page(purchases, query, _show)


class CardPurchaseView(APIView):
    """One of them."""

    @extend_schema(responses=CardPurchaseShape, operation_id="card_purchases_retrieve")
    def get(self, request: Request, purchase_id: str) -> Response:
        return Response(_show(purchase_of(caller_of(request).firm, purchase_id)))


def _show(purchase: CardPurchase) -> dict[str, object]:
    deposit = purchase.deposit
    return {
        "id": purchase.public_id,
        "state": purchase.state,
        "end_reason": purchase.end_reason or None,
        "listing": purchase.listing.public_id,
        "count": purchase.count,
        "total": money_json(purchase.most_micros * purchase.count, deposit.currency),
        "paid_by_card": money_json(deposit.amount_micros, deposit.currency),
        "deposit": deposit.public_id,
        "bid": purchase.bid.public_id if purchase.bid else None,
        "created_at": purchase.created_at,
        "closed_at": purchase.closed_at,
    }
