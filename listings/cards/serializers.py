"""Shapes of card listings."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from rest_framework import serializers

from listings.cards.models import CardListing
from listings.cards.services import LOT_MAX, CardTerms
from listings.cards.states import AppearanceGrade, Flag, FunctionGrade, PhotoKind
from listings.states import ListingState
from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json

CARD_TICK_MICROS = 10_000  # 0.01
DAYS_MAX = 3650
RENT_DAYS_MAX = 365


class CountryField(serializers.RegexField):
    """An ISO 3166-1 alpha-2 code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^[A-Z]{2}$", max_length=2, **options)


class CardListingInput(StrictSerializer):
    """The body of POST /card-listings/. It becomes a draft: photos follow, then `open`."""

    cards = serializers.ListField(child=serializers.CharField(max_length=32), min_length=1, max_length=LOT_MAX)
    ask = MicrosField(tick_micros=CARD_TICK_MICROS)
    currency = serializers.CharField(max_length=3, default="USD")
    grade_appearance = serializers.ChoiceField(choices=AppearanceGrade.choices)
    flags = serializers.ListField(child=serializers.ChoiceField(choices=Flag.choices), max_length=10, default=list)
    warranty_days = serializers.IntegerField(min_value=0, max_value=DAYS_MAX, default=0)
    ships_from = CountryField()
    ships_to = serializers.ListField(child=CountryField(), max_length=250, default=list)
    shipping = MicrosField(positive=False, tick_micros=CARD_TICK_MICROS, default=0)
    shipping_abroad = MicrosField(positive=False, tick_micros=CARD_TICK_MICROS, required=False, allow_null=True)
    rent_counts_days = serializers.IntegerField(min_value=0, max_value=RENT_DAYS_MAX, default=0)


class CardListingChanges(StrictSerializer):
    """The body of PATCH /card-listings/{id}/; agreed sales keep their terms."""

    ask = MicrosField(tick_micros=CARD_TICK_MICROS, required=False)
    flags = serializers.ListField(child=serializers.ChoiceField(choices=Flag.choices), max_length=10, required=False)
    warranty_days = serializers.IntegerField(min_value=0, max_value=DAYS_MAX, required=False)
    ships_to = serializers.ListField(child=CountryField(), max_length=250, required=False)
    shipping = MicrosField(positive=False, tick_micros=CARD_TICK_MICROS, required=False)
    shipping_abroad = MicrosField(positive=False, tick_micros=CARD_TICK_MICROS, required=False, allow_null=True)
    rent_counts_days = serializers.IntegerField(min_value=0, max_value=RENT_DAYS_MAX, required=False)


COLUMNS = {
    "ask": "ask_micros",
    "flags": "flags",
    "warranty_days": "warranty_days",
    "ships_to": "ships_to",
    "shipping": "shipping_micros",
    "shipping_abroad": "shipping_abroad_micros",
    "rent_counts_days": "rent_counts_days",
}


class PhotoInput(StrictSerializer):
    """A photo as multipart/form-data; its bytes are looked at apart from this."""

    kind = serializers.ChoiceField(choices=PhotoKind.choices)
    file = serializers.FileField()


class CardListingQuery(PageQuery):
    """Filters of GET /card-listings/: the firm's own, or with `market` everybody's that are open."""

    state = serializers.ChoiceField(choices=ListingState.choices, required=False)
    market = serializers.BooleanField(default=False)
    gpu = serializers.SlugField(max_length=80, required=False)


class PhotoShape(serializers.Serializer[Any]):
    """A photo in an answer."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=PhotoKind.choices)
    url = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    sha256 = serializers.CharField()


class LotCardShape(serializers.Serializer[Any]):
    """A card of a lot."""

    id = serializers.CharField()
    passport = serializers.CharField(allow_null=True)
    is_for_sale = serializers.BooleanField()


class CardListingShape(serializers.Serializer[CardListing]):
    """A card listing in an answer. `code` is shown to its seller alone."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=ListingState.choices)
    gpu = serializers.CharField()
    memory_mib = serializers.IntegerField()
    is_modified = serializers.BooleanField()
    cards = LotCardShape(many=True)
    ask = MoneyShape()
    currency = serializers.CharField()
    grade_function = serializers.ChoiceField(choices=FunctionGrade.choices)
    grade_appearance = serializers.ChoiceField(choices=AppearanceGrade.choices)
    flags = serializers.ListField(child=serializers.ChoiceField(choices=Flag.choices))
    warranty_days = serializers.IntegerField()
    ships_from = serializers.CharField()
    ships_to = serializers.ListField(child=serializers.CharField())
    zone = serializers.CharField()
    shipping = MoneyShape()
    shipping_abroad = MoneyShape(allow_null=True)
    rent_counts_days = serializers.IntegerField()
    photos = PhotoShape(many=True)
    code = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()


def card_terms(values: dict[str, Any]) -> CardTerms:
    """A validated body as the service takes it."""
    return CardTerms(
        cards=tuple(values["cards"]),
        ask_micros=values["ask"],
        currency=values["currency"],
        appearance_grade=values["grade_appearance"],
        ships_from=values["ships_from"],
        ships_to=tuple(values["ships_to"]),
        shipping_micros=values["shipping"],
        shipping_abroad_micros=values.get("shipping_abroad"),
        flags=tuple(values["flags"]),
        warranty_days=values["warranty_days"],
        rent_counts_days=values["rent_counts_days"],
    )


def card_listing_json(listing: CardListing, *, firm_pk: int | None) -> dict[str, Any]:
    """A card listing as the API shows it to a firm."""
    lot = sorted(listing.lot.all(), key=lambda each: each.card_id)
    return {
        "id": listing.public_id,
        "state": listing.state,
        "gpu": listing.gpu_model.slug,
        "memory_mib": listing.memory_mib,
        "is_modified": listing.is_modified,
        "cards": [
            {"id": each.card.public_id, "passport": each.passport or None, "is_for_sale": not each.taken_by}
            for each in lot
        ],
        "ask": money_json(listing.ask_micros, listing.currency),
        "currency": listing.currency,
        "grade_function": listing.function_grade,
        "grade_appearance": listing.appearance_grade,
        "flags": listing.flags,
        "warranty_days": listing.warranty_days,
        "ships_from": listing.ships_from,
        "ships_to": listing.ships_to,
        "zone": listing.zone,
        "shipping": money_json(listing.shipping_micros, listing.currency),
        "shipping_abroad": money_json(listing.shipping_abroad_micros, listing.currency),
        "rent_counts_days": listing.rent_counts_days,
        "photos": [photo_json(photo) for photo in listing.photos.all()],
        "code": listing.code if listing.firm_id == firm_pk else None,
        "created_at": listing.created_at,
    }


def photo_json(photo: Any) -> dict[str, Any]:
    """A photo as the API shows it."""
    return {
        "id": photo.public_id,
        "kind": photo.kind,
        "url": reverse("card-photo", args=[photo.public_id]),
        "width": photo.width,
        "height": photo.height,
        "sha256": photo.sha256,
    }
