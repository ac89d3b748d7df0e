"""Card bids and sales over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from listings.cards.photos import BYTES_MAX
from listings.cards.selectors import visible_card_listing
from listings.cards.views import SELLS, uploaded
from marketplace.accounts.authentication import (
    ApiKeyAuthentication,
    Caller,
    caller_of,
    require,
    require_any,
    session_caller,
)
from marketplace.accounts.models import User
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import page, parse, parse_query
from marketplace.common.errors import NotAllowed, NotFound, Unauthorised
from marketplace.events.services import is_remembered, once
from marketplace.sales.bundles import evidence_bundle
from marketplace.sales.depth import card_depth
from marketplace.sales.models import Sale
from marketplace.sales.selectors import any_sale, bid_of, bids_of, model_of, sale_of, sales_of
from marketplace.sales.serializers import (
    COLUMNS,
    AddressInput,
    AddressQuestionInput,
    BuyInput,
    CardBidChanges,
    CardBidInput,
    CardBidQuery,
    CardBidShape,
    DisputeInput,
    EvidenceInput,
    QuoteInput,
    QuoteShape,
    RulingInput,
    SaleQuery,
    SaleShape,
    ShipInput,
    bid_json,
    bid_request,
    quote_json,
    sale_json,
    take_of,
)
from marketplace.sales.services.addresses import answer_address, question_address
from marketplace.sales.services.bidding import buy_once, cancel_bid_once, change_bid, place_bid_once, quote
from marketplace.sales.services.disputing import add_evidence, dispute_sale, rule
from marketplace.sales.services.shipping import Shipment, accept_sale, receive_sale, ship_sale

IDEMPOTENCY = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, required=True)


class CardDepthView(APIView):
    """The card book of a model, without names; public."""

    permission_classes = [AllowAny]

    @extend_schema(responses=dict, operation_id="market_depth_retrieve")
    def get(self, request: Request, gpu: str) -> Response:
        return Response(card_depth(gpu=model_of(gpu).slug, now=clock.now()))


class QuoteCardView(APIView):
    """The landed price of a card before any commitment."""

    @extend_schema(request=QuoteInput, responses=QuoteShape, operation_id="card_listings_quote")
    def post(self, request: Request, listing_id: str) -> Response:
        caller = caller_of(request)
        visible_card_listing(caller.firm, listing_id)
        take = take_of(listing_id, parse(QuoteInput, request.data))
        return Response(quote_json(quote(firm=caller.firm, take=take, now=clock.now())))


class BuyCardView(APIView):
    """Take cards of a listing at its ask, all of them or none."""

    @extend_schema(
        request=BuyInput, parameters=[IDEMPOTENCY], responses={201: CardBidShape}, operation_id="card_listings_buy"
    )
    def post(self, request: Request, listing_id: str) -> Response:
        caller, key = caller_of(request), request.headers.get("Idempotency-Key")
        if not is_remembered(firm_id=caller.firm.pk, key=key):  # the last card's listing is closed by its own sale
            visible_card_listing(caller.firm, listing_id)
        require(caller, Scope.TRADE)
        bid = buy_once(
            firm=caller.firm,
            actor=caller.actor,
            take=take_of(listing_id, parse(BuyInput, request.data)),
            key=key,
            body={"listing": listing_id, "body": request.data},
            now=clock.now(),
        )
        return Response(bid_json(bid), status=201)


class CardBidsView(APIView):
    """A firm's bids for cards."""

    @extend_schema(parameters=[CardBidQuery], responses=CardBidShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(CardBidQuery, request)
        bids = bids_of(caller_of(request).firm)
        if state := query.get("state"):
            bids = bids.filter(state=state)
        return page(bids, query, bid_json)

    @extend_schema(request=CardBidInput, parameters=[IDEMPOTENCY], responses={201: CardBidShape})
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require(caller, Scope.TRADE)
        bid = place_bid_once(
            firm=caller.firm,
            actor=caller.actor,
            request=bid_request(parse(CardBidInput, request.data)),
            key=request.headers.get("Idempotency-Key"),
            body=request.data,
            now=clock.now(),
        )
        return Response(bid_json(bid), status=201)


class CardBidView(APIView):
    """One bid."""

    @extend_schema(responses=CardBidShape)
    def get(self, request: Request, bid_id: str) -> Response:
        return Response(bid_json(bid_of(caller_of(request).firm, bid_id)))

    @extend_schema(request=CardBidChanges, responses=CardBidShape)
    def patch(self, request: Request, bid_id: str) -> Response:
        caller = caller_of(request)
        bid_of(caller.firm, bid_id)
        require(caller, Scope.TRADE)
        changes = {COLUMNS[name]: value for name, value in parse(CardBidChanges, request.data).items()}
        change_bid(firm=caller.firm, public_id=bid_id, changes=changes, actor=caller.actor, now=clock.now())
        return Response(bid_json(bid_of(caller.firm, bid_id)))


class CancelCardBidView(APIView):
    """Take what is not agreed out of the book."""

    @extend_schema(request=None, parameters=[IDEMPOTENCY], responses=CardBidShape, operation_id="card_bids_cancel")
    def post(self, request: Request, bid_id: str) -> Response:
        caller = caller_of(request)
        bid_of(caller.firm, bid_id)
        require(caller, Scope.TRADE)
        key = request.headers.get("Idempotency-Key")
        bid = cancel_bid_once(firm=caller.firm, public_id=bid_id, actor=caller.actor, key=key, now=clock.now())
        return Response(bid_json(bid))


class SalesView(APIView):
    """Cards that the firm bought, sold, or measures as a lab."""

    @extend_schema(parameters=[SaleQuery], responses=SaleShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(SaleQuery, request)
        firm = caller_of(request).firm
        sales = sales_of(firm)
        if state := query.get("state"):
            sales = sales.filter(state=state)
        if side := query.get("side"):
            sales = sales.filter(**{side: firm.pk})
        return page(sales, query, lambda sale: sale_json(sale, firm))


class SaleView(APIView):
    """One sale."""

    @extend_schema(responses=SaleShape)
    def get(self, request: Request, sale_id: str) -> Response:
        firm = caller_of(request).firm
        return Response(sale_json(sale_of(firm, sale_id), firm))


class ShipSaleView(APIView):
    """It is on its way: from the seller, from the lab onwards, or back from the buyer."""

    @extend_schema(request=ShipInput, responses=SaleShape, operation_id="sales_ship")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, SELLS)
        said = parse(ShipInput, request.data)
        shipment = Shipment(said["carrier"], said["tracking"], said["label_photo"])
        ship_sale(firm=caller.firm, public_id=sale_id, shipment=shipment, actor=caller.actor, now=clock.now())
        return _sale(caller, sale_id)


class QuestionAddressView(APIView):
    """The seller can't ship to this address: the buyer is asked to correct it."""

    @extend_schema(request=AddressQuestionInput, responses=SaleShape, operation_id="sales_question_address")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, SELLS)
        reason = parse(AddressQuestionInput, request.data)["reason"]
        question_address(firm=caller.firm, public_id=sale_id, reason=reason, actor=caller.actor, now=clock.now())
        return _sale(caller, sale_id)


class AnswerAddressView(APIView):
    """The buyer's answer: the address, corrected or as it was."""

    @extend_schema(request=AddressInput, responses=SaleShape, operation_id="sales_answer_address")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, (Scope.TRADE,))
        address = parse(AddressInput, request.data)["address"]
        answer_address(firm=caller.firm, public_id=sale_id, address=address, actor=caller.actor, now=clock.now())
        return _sale(caller, sale_id)


class ReceiveSaleView(APIView):
    """It has arrived where it was sent."""

    @extend_schema(request=None, responses=SaleShape, operation_id="sales_receive")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, SELLS)
        receive_sale(firm=caller.firm, public_id=sale_id, actor=caller.actor, now=clock.now())
        return _sale(caller, sale_id)


class AcceptSaleView(APIView):
    """The receiver is content: the money moves."""

    @extend_schema(request=None, parameters=[IDEMPOTENCY], responses=SaleShape, operation_id="sales_accept")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, (Scope.TRADE,))

        def make(now: datetime) -> Sale:
            return accept_sale(firm=caller.firm, public_id=sale_id, actor=caller.actor, now=now)

        _once(caller.firm.pk, request, sale_id, make)
        return _sale(caller, sale_id)


class DisputeSaleView(APIView):
    """It is not what was sold; the money stays where it is."""

    @extend_schema(request=DisputeInput, responses=SaleShape, operation_id="sales_dispute")
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, (Scope.TRADE,))
        text = parse(DisputeInput, request.data)["text"]
        dispute_sale(firm=caller.firm, public_id=sale_id, text=text, actor=caller.actor, now=clock.now())
        return _sale(caller, sale_id)


class EvidenceView(APIView):
    """Everything that is known about a sale, and what one adds to it."""

    parser_classes = [JSONParser, MultiPartParser]

    @extend_schema(responses=dict, operation_id="sales_evidence_retrieve")
    def get(self, request: Request, sale_id: str) -> Response:
        return Response(evidence_bundle(sale_of(caller_of(request).firm, sale_id)))

    @extend_schema(
        request={"application/json": EvidenceInput, "multipart/form-data": EvidenceInput},
        responses={201: dict},
        operation_id="sales_evidence_create",
    )
    def post(self, request: Request, sale_id: str) -> Response:
        caller = _party(request, sale_id, SELLS)
        values = parse(EvidenceInput, uploaded(request))
        file = values.get("file")
        said = add_evidence(
            firm=caller.firm,
            public_id=sale_id,
            text=values["text"],
            photo=file.read(BYTES_MAX + 1) if file else None,
            actor=caller.actor,
            now=clock.now(),
        )
        return Response({"id": said.public_id, "about": said.about, "sha256": said.sha256 or None}, status=201)


class ResolveSaleView(APIView):
    """An operator, signed in on the pages, rules on a dispute."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]

    @extend_schema(request=RulingInput, parameters=[IDEMPOTENCY], responses=SaleShape, operation_id="sales_resolve")
    def post(self, request: Request, sale_id: str) -> Response:
        operator = _operator_for(request, sale_id)
        values = parse(RulingInput, request.data)

        def make(now: datetime) -> Sale:
            return rule(
                operator=operator,
                public_id=sale_id,
                ruling=values["ruling"],
                refund_micros=values.get("refund"),
                text=values["text"],
                now=now,
            )

        _once(-operator.pk, request, sale_id, make)
        return Response(sale_json(any_sale(sale_id), None))


@require_safe
def evidence_photo(request: HttpRequest, sale_id: str, evidence_id: str) -> HttpResponse:
    """A photo that one side sent, for the other side and for operators."""
    caller = session_caller(request)
    is_operator = isinstance(request.user, User) and request.user.is_operator
    try:
        if not is_operator and caller is None:
            raise NotFound
        sale = any_sale(sale_id) if is_operator else sale_of(caller.firm, sale_id)  # type: ignore[union-attr]
    except NotFound:
        return HttpResponse(status=404)
    said = sale.evidence.filter(public_id=evidence_id).exclude(file="").first()
    if said is None:
        return HttpResponse(status=404)
    with said.file.open("rb") as file:
        response = HttpResponse(file.read(), content_type="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def _party(request: Request, sale_id: str, scopes: tuple[str, ...]) -> Caller:
    """The caller, who is on one side of the sale and may do this."""
    caller = caller_of(request)
    sale_of(caller.firm, sale_id)
    require_any(caller, scopes)
    return caller


def _sale(caller: Caller, sale_id: str) -> Response:
    return Response(sale_json(sale_of(caller.firm, sale_id), caller.firm))


def _once(owner: int, request: Request, sale_id: str, make: Callable[[datetime], Sale]) -> None:
    """What moves money happens once per key; an operator's keys are kept apart from every firm's."""
    now = clock.now()
    once(
        firm_id=owner,
        key=request.headers.get("Idempotency-Key"),
        body={"sale": sale_id, "path": request.path, "body": request.data},
        now=now,
        make=lambda: make(now).public_id,
    )


def _operator_for(request: Request, sale_id: str) -> User:
    if isinstance(request.user, User) and request.user.is_operator:
        any_sale(sale_id)
        return request.user
    caller: Any = request.auth if isinstance(request.auth, Caller) else session_caller(request._request)
    if caller is None:
        raise Unauthorised("sign in as an operator")
    sale_of(caller.firm, sale_id)
    raise NotAllowed("only an operator rules on a sale", code="operators_only")
