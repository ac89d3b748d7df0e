"""Offers and capacity listings over HTTP."""

from __future__ import annotations

from datetime import datetime

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from listings.models import CapacityListing
from listings.search import all_offers, place_of, relaxations, search_offers
from listings.selectors import listing_of, listings_of
from listings.serializers import (
    COLUMNS,
    ListingChanges,
    ListingInput,
    ListingQuery,
    ListingShape,
    OfferQuery,
    listing_json,
    listing_terms,
    offer_filters,
    offer_json,
    relaxation_json,
)
from listings.services import (
    change_listing,
    close_listing,
    create_listing,
    list_at_once,
    open_listing,
    pause_listing,
)
from marketplace.accounts.authentication import Caller, caller_of, require_any
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import page, paged, parse, parse_query, take_sorted
from marketplace.common.errors import NotFound
from marketplace.common.hints import ring

SELLS = (Scope.FLEET, Scope.TRADE)


class OffersView(APIView):
    """What can be rented now; public. The caller's own cards are left out."""

    permission_classes = [AllowAny]

    @extend_schema(parameters=[OfferQuery], responses=dict)
    def get(self, request: Request) -> Response:
        query = parse_query(OfferQuery, request)
        now = clock.now()
        own = request.auth.firm.pk if isinstance(request.auth, Caller) else None
        filters = offer_filters(query, exclude_firm_pk=own)
        found = search_offers(filters=filters, now=now, sort=query["sort"])
        taken = take_sorted(found, query, lambda offer: [query["sort"], *place_of(offer, query["sort"])])
        opened = [] if found else relaxations(offers=all_offers(now=now, exclude_firm_pk=own), filters=filters)
        answer = paged(taken, lambda offer: offer_json(offer, now=now, duration_seconds=query.get("duration_seconds")))
        answer.data["relaxations"] = [relaxation_json(each, query["currency"]) for each in opened]
        return answer


class ListingsView(APIView):
    """A firm's capacity listings."""

    @extend_schema(parameters=[ListingQuery], responses=ListingShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(ListingQuery, request)
        listings = listings_of(caller_of(request).firm)
        if state := query.get("state"):
            listings = listings.filter(state=state)
        return page(listings, query, listing_json)

    @extend_schema(request=ListingInput, responses={201: ListingShape})
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require_any(caller, SELLS)
        now = clock.now()
        values = parse(ListingInput, request.data)
        make = list_at_once if values["open"] else create_listing
        listing = make(firm=caller.firm, terms=listing_terms(values, now), actor=caller.actor, now=now)
        if values["open"]:
            ring("inbox")
        return Response(listing_json(listing_of(caller.firm, listing.public_id)), status=201)


class ListingView(APIView):
    """One listing."""

    @extend_schema(responses=ListingShape)
    def get(self, request: Request, listing_id: str) -> Response:
        return Response(listing_json(listing_of(caller_of(request).firm, listing_id)))

    @extend_schema(request=ListingChanges, responses=ListingShape)
    def patch(self, request: Request, listing_id: str) -> Response:
        caller = caller_of(request)
        listing_of(caller.firm, listing_id)
        require_any(caller, SELLS)
        values = parse(ListingChanges, request.data)
        changes = {column: values[name] for name, column in COLUMNS.items() if name in values}
        change_listing(firm=caller.firm, public_id=listing_id, changes=changes, actor=caller.actor, now=clock.now())
        ring("inbox")
        return Response(listing_json(listing_of(caller.firm, listing_id)))


class ListingActionView(APIView):
    """POST …/open/, …/pause/, …/close/."""

    @extend_schema(request=None, responses=ListingShape, operation_id="capacity_listings_act")
    def post(self, request: Request, listing_id: str, action: str) -> Response:
        caller = caller_of(request)
        listing_of(caller.firm, listing_id)
        require_any(caller, SELLS)
        _act(action, caller, listing_id, clock.now())
        ring("inbox")
        return Response(listing_json(listing_of(caller.firm, listing_id)))


def _act(action: str, caller: Caller, listing_id: str, now: datetime) -> CapacityListing:
    match action:
        case "open":
            return open_listing(firm=caller.firm, public_id=listing_id, actor=caller.actor, now=now)
        case "pause":
            return pause_listing(firm=caller.firm, public_id=listing_id, actor=caller.actor, now=now)
        case "close":
            return close_listing(firm=caller.firm, public_id=listing_id, actor=caller.actor, now=now)
    raise NotFound
