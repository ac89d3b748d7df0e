"""Shapes of card bids, sales and disputes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from listings.cards.serializers import CARD_TICK_MICROS, CountryField
from listings.cards.states import ZONE_LENGTH_MAX, FunctionGrade
from marketplace.accounts.models import Firm
from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json
from marketplace.sales.models import CardBid, Dispute, Sale
from marketplace.sales.pricing import payout
from marketplace.sales.services.bidding import COUNT_MAX, BidRequest, Quote, Take
from marketplace.sales.silence import SILENCES, Party, Step, step_of
from marketplace.sales.states import BidState, Route, Ruling, SaleState

ADDRESS_MAX = 500
ROUTES = [("", "What is usual for the card"), *Route.choices]


class CardBidInput(StrictSerializer):
    """The body of POST /card-bids/. `limit` is per card and all in: item, shipping and tax."""

    gpu = serializers.SlugField(max_length=80)
    memory_mib = serializers.IntegerField(min_value=1, max_value=10**7)
    grade_min = serializers.ChoiceField(choices=FunctionGrade.choices, default=FunctionGrade.F2)
    ships_from_zone = serializers.CharField(max_length=ZONE_LENGTH_MAX, allow_blank=True, default="")
    currency = serializers.CharField(max_length=3, default="USD")
    limit = MicrosField(tick_micros=CARD_TICK_MICROS)
    count = serializers.IntegerField(min_value=1, max_value=COUNT_MAX, default=1)
    ships_to = CountryField()
    address = serializers.CharField(max_length=ADDRESS_MAX)
    route = serializers.ChoiceField(choices=ROUTES, default="", allow_blank=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class CardBidChanges(StrictSerializer):
    """The body of PATCH /card-bids/{id}/; with a new limit, or for more cards, it loses its age in the book."""

    limit = MicrosField(tick_micros=CARD_TICK_MICROS, required=False)
    count = serializers.IntegerField(min_value=1, max_value=COUNT_MAX, required=False)
    expires_at = serializers.DateTimeField(required=False)


COLUMNS = {"limit": "limit_micros", "count": "count", "expires_at": "expires_at"}


class QuoteInput(StrictSerializer):
    """The body of POST /card-listings/{id}/quote/."""

    card = serializers.CharField(max_length=32, required=False, allow_null=True)
    count = serializers.IntegerField(min_value=1, max_value=COUNT_MAX, default=1)
    ships_to = CountryField()


class BuyInput(QuoteInput):
    """The body of POST …/buy/. `max_total` is the total per card that the buyer has seen."""

    address = serializers.CharField(max_length=ADDRESS_MAX)
    route = serializers.ChoiceField(choices=ROUTES, default="", allow_blank=True)
    max_total = MicrosField(required=False, allow_null=True)


class ShipInput(StrictSerializer):
    """The body of POST /sales/{id}/ship/. `label_photo` is the id of the sender's evidence that shows it."""

    carrier = serializers.CharField(max_length=40)
    tracking = serializers.CharField(max_length=60)
    label_photo = serializers.CharField(max_length=32)


class AddressQuestionInput(StrictSerializer):
    """The body of POST /sales/{id}/question-address/: why the seller can't ship there."""

    reason = serializers.CharField(max_length=ADDRESS_MAX)


class AddressInput(StrictSerializer):
    """The body of POST /sales/{id}/address/: the whole address; the country can't change."""

    address = serializers.CharField(max_length=ADDRESS_MAX)


class DisputeInput(StrictSerializer):
    """The body of POST /sales/{id}/dispute/."""

    text = serializers.CharField(max_length=2000)


class EvidenceInput(StrictSerializer):
    """The body of POST /sales/{id}/evidence/: a text, a photo (multipart/form-data) or both."""

    text = serializers.CharField(max_length=4000, allow_blank=True, default="")
    file = serializers.FileField(required=False)


class RulingInput(StrictSerializer):
    """The body of POST /sales/{id}/resolve/; `refund` is what the buyer gets of a split."""

    ruling = serializers.ChoiceField(choices=Ruling.choices)
    refund = MicrosField(required=False, allow_null=True)
    text = serializers.CharField(max_length=2000, allow_blank=True, default="")


class CardBidQuery(PageQuery):
    """Filters of GET /card-bids/."""

    state = serializers.ChoiceField(choices=BidState.choices, required=False)


class SaleQuery(PageQuery):
    """Filters of GET /sales/."""

    state = serializers.ChoiceField(choices=SaleState.choices, required=False)
    side = serializers.ChoiceField(choices=["buyer", "seller", "lab"], required=False)


class LandedShape(serializers.Serializer[Any]):
    """What one card costs its buyer."""

    item = MoneyShape()
    rent_credit = MoneyShape()
    shipping = MoneyShape()
    tax = MoneyShape()
    total = MoneyShape()


class QuoteShape(serializers.Serializer[Any]):
    """The landed price before any commitment; the platform's fee comes out of the seller's share."""

    price = LandedShape()
    fee = MoneyShape()
    currency = serializers.CharField()
    count_left = serializers.IntegerField()
    ships_after_at = serializers.DateTimeField()


class CardBidShape(serializers.Serializer[CardBid]):
    """A card bid in an answer."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=BidState.choices)
    end_reason = serializers.CharField(allow_null=True)
    gpu = serializers.CharField()
    memory_mib = serializers.IntegerField()
    grade_min = serializers.ChoiceField(choices=FunctionGrade.choices)
    ships_from_zone = serializers.CharField()
    limit = MoneyShape()
    currency = serializers.CharField()
    count = serializers.IntegerField()
    filled_count = serializers.IntegerField()
    escrow = MoneyShape()
    ships_to = serializers.CharField()
    address = serializers.CharField()
    route = serializers.CharField()
    listing = serializers.CharField(allow_null=True)
    sales = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)


class DisputeShape(serializers.Serializer[Dispute]):
    """A dispute in an answer."""

    id = serializers.CharField()
    reason = serializers.CharField()
    text = serializers.CharField()
    opened_by = serializers.CharField(allow_null=True)
    opened_at = serializers.DateTimeField()
    ruling = serializers.CharField(allow_null=True)
    refund = MoneyShape(allow_null=True)
    ruling_text = serializers.CharField()
    closed_at = serializers.DateTimeField(allow_null=True)


class SaleShape(serializers.Serializer[Sale]):
    """A sale in an answer. `turn` is whose silence ends the step at `deadline_at`."""

    id = serializers.CharField()
    state = serializers.ChoiceField(choices=SaleState.choices)
    step = serializers.CharField(allow_null=True)
    turn = serializers.ChoiceField(choices=[str(party) for party in Party], allow_null=True)
    deadline_at = serializers.DateTimeField(allow_null=True)
    end_reason = serializers.CharField(allow_null=True)
    side = serializers.ChoiceField(choices=["buyer", "seller", "lab", "operator"])
    bid = serializers.CharField(allow_null=True)
    listing = serializers.CharField()
    card = serializers.CharField()
    gpu = serializers.CharField()
    memory_mib = serializers.IntegerField()
    is_modified = serializers.BooleanField()
    grade_function = serializers.CharField()
    grade_appearance = serializers.CharField()
    flags = serializers.ListField(child=serializers.CharField())
    warranty_days = serializers.IntegerField()
    route = serializers.CharField()
    price = LandedShape()
    fee = MoneyShape(allow_null=True)
    seller_gets = MoneyShape(allow_null=True)
    refunded = MoneyShape()
    credit = MoneyShape()
    credit_paid = MoneyShape()
    currency = serializers.CharField()
    ships_from = serializers.CharField()
    ships_to = serializers.CharField()
    address = serializers.CharField(allow_null=True)
    address_question = serializers.CharField(allow_null=True)
    ships_after_at = serializers.DateTimeField()
    shipping = serializers.DictField()
    passports = serializers.DictField()
    differences = serializers.ListField(child=serializers.DictField())
    disputes = DisputeShape(many=True)
    agreed_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)
    shipped_at = serializers.DateTimeField(allow_null=True)
    received_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


def bid_request(values: dict[str, Any]) -> BidRequest:
    """A validated body as the service takes it."""
    return BidRequest(
        gpu=values["gpu"],
        memory_mib=values["memory_mib"],
        grade_min=values["grade_min"],
        zone=values["ships_from_zone"].lower(),
        currency=values["currency"],
        limit_micros=values["limit"],
        count=values["count"],
        ships_to=values["ships_to"],
        address=values["address"],
        route=values["route"],
        expires_at=values.get("expires_at"),
    )


def take_of(listing: str, values: dict[str, Any]) -> Take:
    """A validated body of a quote or a purchase as the service takes it."""
    return Take(
        listing=listing,
        count=values["count"],
        card=values.get("card"),
        ships_to=values["ships_to"],
        address=values.get("address", ""),
        route=values.get("route", ""),
        most_micros=values.get("max_total"),
    )


def quote_json(quote: Quote) -> dict[str, Any]:
    """A quote as the API shows it."""
    return {
        "price": _landed_json(quote.price, quote.currency),
        "fee": money_json(0, quote.currency),
        "currency": quote.currency,
        "count_left": quote.count_left,
        "ships_after_at": quote.ships_after_at,
    }


def bid_json(bid: CardBid) -> dict[str, Any]:
    """A bid as the API shows it to its firm."""
    return {
        "id": bid.public_id,
        "state": bid.state,
        "end_reason": bid.end_reason or None,
        "gpu": bid.gpu_model.slug,
        "memory_mib": bid.memory_mib,
        "grade_min": bid.grade_min,
        "ships_from_zone": bid.zone,
        "limit": money_json(bid.limit_micros, bid.currency),
        "currency": bid.currency,
        "count": bid.count,
        "filled_count": bid.filled_count,
        "escrow": money_json(bid.held_micros, bid.currency),
        "ships_to": bid.ships_to,
        "address": bid.address,
        "route": bid.route,
        "listing": bid.pinned_listing or None,
        "sales": [sale.public_id for sale in bid.sales.all()],
        "expires_at": bid.expires_at,
        "created_at": bid.created_at,
        "closed_at": bid.closed_at,
    }


def side_of(sale: Sale, firm: Firm | None) -> str:
    """On which side of a sale a firm is; an operator is on none."""
    sides = {sale.buyer_id: "buyer", sale.seller_id: "seller"} | ({sale.lab_id: "lab"} if sale.lab_id else {})
    return sides[firm.pk] if firm else "operator"


def address_for(sale: Sale, side: str) -> str | None:
    """Where this side sends the card, or has it sent: a lab stands between seller and buyer, and knows both."""
    if side != "buyer" and sale.paid_at is None:
        return None
    return sale.lab.address if sale.lab and side == "seller" else sale.buyers_address


def sale_json(sale: Sale, firm: Firm | None) -> dict[str, Any]:
    """A sale as the API shows it to one of its sides. Only the seller sees what the seller gets."""
    side, step = side_of(sale, firm), step_of(sale.facts())
    share = payout(price=sale.price, fee_basis_points=sale.fee_basis_points, buyer_micros=sale.refunded_micros)
    sees_share = side in ("seller", "operator")
    return {
        "id": sale.public_id,
        "state": sale.state,
        "step": step,
        "turn": SILENCES[step].party if step else None,
        "deadline_at": sale.deadline_at,
        "end_reason": sale.end_reason or None,
        "side": side,
        "bid": sale.bid.public_id if side == "buyer" else None,
        "fee": money_json(share.fee_micros, sale.currency) if sees_share else None,
        "seller_gets": money_json(share.seller_micros, sale.currency) if sees_share else None,
        "address": address_for(sale, side),
        "address_question": sale.address_question if step is Step.ADDRESS_ASKED else None,
        "disputes": [dispute_json(each) for each in sale.disputes.all()],
        **_goods_json(sale),
        **_travel_json(sale),
    }


def _goods_json(sale: Sale) -> dict[str, Any]:
    return {
        "listing": sale.listing.public_id,
        "card": sale.card.public_id,
        "gpu": sale.listing.gpu_model.slug,
        "memory_mib": sale.listing.memory_mib,
        "is_modified": sale.is_modified,
        "grade_function": sale.function_grade,
        "grade_appearance": sale.appearance_grade,
        "flags": sale.flags,
        "warranty_days": sale.warranty_days,
        "price": _landed_json(sale.price, sale.currency),
        "refunded": money_json(sale.refunded_micros, sale.currency),
        "credit": money_json(sale.credit_micros, sale.currency),
        "credit_paid": money_json(sale.credit_paid_micros, sale.currency),
        "currency": sale.currency,
        "passports": {
            "seller": sale.seller_passport,
            "lab": sale.lab_passport or None,
            "buyer": sale.buyer_passport or None,
            "return": sale.return_passport or None,
        },
        "differences": sale.differences,
    }


def _travel_json(sale: Sale) -> dict[str, Any]:
    return {
        "route": sale.route,
        "ships_from": sale.ships_from,
        "ships_to": sale.ships_to,
        "ships_after_at": sale.ships_after_at,
        "shipping": {
            "carrier": sale.carrier,
            "tracking": sale.tracking,
            "onward_carrier": sale.onward_carrier,
            "onward_tracking": sale.onward_tracking,
            "return_carrier": sale.return_carrier,
            "return_tracking": sale.return_tracking,
        },
        "agreed_at": sale.agreed_at,
        "paid_at": sale.paid_at,
        "shipped_at": sale.shipped_at,
        "received_at": sale.received_at,
        "closed_at": sale.closed_at,
    }


def dispute_json(dispute: Dispute) -> dict[str, Any]:
    """A dispute as both sides see it."""
    by = {dispute.sale.buyer_id: "buyer", dispute.sale.seller_id: "seller"}
    return {
        "id": dispute.public_id,
        "reason": dispute.reason,
        "text": dispute.text,
        "opened_by": by.get(dispute.opened_by_id) if dispute.opened_by_id else None,
        "opened_at": dispute.opened_at,
        "ruling": dispute.ruling or None,
        "refund": money_json(dispute.refund_micros, dispute.sale.currency),
        "ruling_text": dispute.ruling_text,
        "closed_at": dispute.closed_at,
    }


def _landed_json(price: Any, currency: str) -> dict[str, Any]:
    return {
        "item": money_json(price.item_micros, currency),
        "rent_credit": money_json(price.rent_credit_micros, currency),
        "shipping": money_json(price.shipping_micros, currency),
        "tax": money_json(price.tax_micros, currency),
        "total": money_json(price.total_micros, currency),
    }
