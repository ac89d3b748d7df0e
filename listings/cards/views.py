"""Card listings over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from listings.cards.photos import BYTES_MAX
from listings.cards.selectors import card_listing_of, card_listings_of, open_card_listings, visible_card_listing
from listings.cards.selectors import visible_photo as photo_that_is_shown
from listings.cards.serializers import (
    COLUMNS,
    CardListingChanges,
    CardListingInput,
    CardListingQuery,
    CardListingShape,
    PhotoInput,
    PhotoShape,
    card_listing_json,
    card_terms,
    photo_json,
)
from listings.cards.services import (
    add_photo,
    change_card_listing,
    close_card_listing,
    create_card_listing,
    open_card_listing,
    pause_card_listing,
)
from marketplace.accounts.authentication import caller_of, require_any, session_caller
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.api import page, parse, parse_query
from marketplace.common.errors import FieldError, Invalid, NotFound

SELLS = (Scope.FLEET, Scope.TRADE)
FORM_BYTES_MAX = 64 * 1024  # what a form has beside its file


class CardListingsView(APIView):
    """Cards for sale: a firm's own, or everybody's that are open."""

    @extend_schema(parameters=[CardListingQuery], responses=CardListingShape(many=True))
    def get(self, request: Request) -> Response:
        query = parse_query(CardListingQuery, request)
        firm = caller_of(request).firm
        listings = open_card_listings() if query["market"] else card_listings_of(firm)
        if state := query.get("state"):
            listings = listings.filter(state=state)
        if gpu := query.get("gpu"):
            listings = listings.filter(gpu_model__slug=gpu)
        return page(listings, query, lambda listing: card_listing_json(listing, firm_pk=firm.pk))

    @extend_schema(request=CardListingInput, responses={201: CardListingShape})
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        require_any(caller, SELLS)
        terms = card_terms(parse(CardListingInput, request.data))
        listing = create_card_listing(firm=caller.firm, terms=terms, actor=caller.actor, now=clock.now())
        return Response(_show(request, listing.public_id), status=201)


class CardListingView(APIView):
    """One card listing."""

    @extend_schema(responses=CardListingShape)
    def get(self, request: Request, listing_id: str) -> Response:
        return Response(_show(request, listing_id))

    @extend_schema(request=CardListingChanges, responses=CardListingShape)
    def patch(self, request: Request, listing_id: str) -> Response:
        caller = caller_of(request)
        card_listing_of(caller.firm, listing_id)
        require_any(caller, SELLS)
        changes = {COLUMNS[name]: value for name, value in parse(CardListingChanges, request.data).items()}
        change_card_listing(
            firm=caller.firm, public_id=listing_id, changes=changes, actor=caller.actor, now=clock.now()
        )
        return Response(_show(request, listing_id))


class CardPhotosView(APIView):
    """POST …/photos/: a JPEG, PNG or WebP as multipart/form-data; only our own encoding of it is kept."""

    parser_classes = [MultiPartParser]

    @extend_schema(request={"multipart/form-data": PhotoInput}, responses={201: PhotoShape})
    def post(self, request: Request, listing_id: str) -> Response:
        caller = caller_of(request)
        card_listing_of(caller.firm, listing_id)
        require_any(caller, SELLS)
        values = parse(PhotoInput, uploaded(request))
        photo = add_photo(
            firm=caller.firm,
            public_id=listing_id,
            kind=values["kind"],
            data=values["file"].read(BYTES_MAX + 1),
            now=clock.now(),
        )
        return Response(photo_json(photo), status=201)


class _ActView(APIView):
    act: ClassVar[Callable[..., Any]]

    def post(self, request: Request, listing_id: str) -> Response:
        caller = caller_of(request)
        card_listing_of(caller.firm, listing_id)
        require_any(caller, SELLS)
        type(self).act(firm=caller.firm, public_id=listing_id, actor=caller.actor, now=clock.now())
        return Response(_show(request, listing_id))


class OpenCardListingView(_ActView):
    """Put it into the book."""

    act = staticmethod(open_card_listing)

    @extend_schema(request=None, responses=CardListingShape, operation_id="card_listings_open")
    def post(self, request: Request, listing_id: str) -> Response:
        return super().post(request, listing_id)


class PauseCardListingView(_ActView):
    """Take it out of the book for a while."""

    act = staticmethod(pause_card_listing)

    @extend_schema(request=None, responses=CardListingShape, operation_id="card_listings_pause")
    def post(self, request: Request, listing_id: str) -> Response:
        return super().post(request, listing_id)


class CloseCardListingView(_ActView):
    """Take it out of the book for good."""

    act = staticmethod(close_card_listing)

    @extend_schema(request=None, responses=CardListingShape, operation_id="card_listings_close")
    def post(self, request: Request, listing_id: str) -> Response:
        return super().post(request, listing_id)


@require_safe
def card_photo(request: HttpRequest, photo_id: str) -> HttpResponse:
    """The photo's bytes; those of a draft for its own firm alone."""
    caller = session_caller(request)
    try:
        photo = photo_that_is_shown(caller.firm if caller else None, photo_id)
    except NotFound:
        return HttpResponse(status=404)
    with photo.file.open("rb") as file:
        response = HttpResponse(file.read(), content_type="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def uploaded(request: Request) -> Any:
    """The form of an upload, refused by its length before anything of it is read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > BYTES_MAX + FORM_BYTES_MAX:
        detail = f"a photo has at most {BYTES_MAX // 1024 // 1024} MiB"
        raise Invalid(detail, code="photo_too_large", errors=(FieldError("/file", "too_large", detail),))
    return request.data


def _show(request: Request, listing_id: str) -> dict[str, Any]:
    firm = caller_of(request).firm
    return card_listing_json(visible_card_listing(firm, listing_id), firm_pk=firm.pk)
