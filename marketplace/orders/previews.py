"""What an order would cost, and the exact body to send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from listings.offers import Offer
from listings.search import OfferFilters, Relaxation, all_offers, best_offer, relaxations, search_offers
from marketplace.accounts.models import Firm
from marketplace.book.pricing import worst_case_micros
from marketplace.common.money import format_micros
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros


@dataclass(frozen=True, slots=True)
class Preview:
    """The best that the book has for a request now; without an offer the `relaxations` say what stands in the way."""

    offer: Offer | None
    price_micros_per_gpu_hour: int | None
    total_micros: int | None
    available_micros: int
    currency: str
    quote_expires_at: datetime
    order: dict[str, Any]
    relaxations: list[Relaxation]


def preview_order(*, firm: Firm, body: dict[str, Any], values: dict[str, Any], now: datetime) -> Preview:
    """`body` as it came, `values` as validated."""
    filters = _filters(firm, values)
    least = values.get("min_count") or values["count"]
    best = (
        _named(filters, least, values, now)
        if values.get("offer")
        else best_offer(filters=filters, least=least, now=now)
    )
    price = values.get("max_price_per_gpu_hour") or (best.price_micros_per_gpu_hour if best else None)
    order = dict(body) | ({"max_price_per_gpu_hour": format_micros(price)} if price else {})
    if best and not values.get("gpu") and not values.get("offer"):
        order["gpu"] = [best.gpu]
    return Preview(
        offer=best,
        price_micros_per_gpu_hour=best.price_micros_per_gpu_hour if best else None,
        total_micros=_total(price, values),
        available_micros=balance_micros(firm=firm, kind=AccountKind.WALLET, currency=values["currency"]),
        currency=values["currency"],
        quote_expires_at=now + timedelta(seconds=settings.QUOTE_SECONDS),
        order={"currency": values["currency"], "count": values["count"]} | order,
        relaxations=[] if best else _ways_out(firm, replace(filters, count=least), now),
    )


def _filters(firm: Firm, values: dict[str, Any]) -> OfferFilters:
    return OfferFilters(
        currency=values["currency"],
        gpu=() if values.get("offer") else tuple(values.get("gpu") or ()),
        memory_mib_min=values["memory_mib__gte"],
        count=values["count"],
        region=tuple(values["region"]),
        country=tuple(values["country"]),
        duration_seconds=values["duration_seconds"],
        price_micros_max=values.get("max_price_per_gpu_hour"),
        tier=values["tier"],
        reliability_basis_points_min=values["reliability__gte"],
        exclude_nodes=tuple(values["exclude_nodes"]),
        same_node=values["same_node"] or bool(values.get("offer")),
        exclude_firm_pk=firm.pk,
    )


def _named(filters: OfferFilters, least: int, values: dict[str, Any], now: datetime) -> Offer | None:
    token = values["offer_token"]
    named = (token.listing, token.node, token.gpu, token.memory_mib)
    found = search_offers(filters=replace(filters, count=least), now=now)
    return next((each for each in found if (each.listing, each.node, each.gpu, each.memory_mib) == named), None)


def _ways_out(firm: Firm, filters: OfferFilters, now: datetime) -> list[Relaxation]:
    return relaxations(offers=all_offers(now=now, exclude_firm_pk=firm.pk), filters=filters)


def _total(price: int | None, values: dict[str, Any]) -> int | None:
    if price is None:
        return None
    return worst_case_micros(
        price_micros_per_gpu_hour=price, count=values["count"], duration_seconds=values["duration_seconds"]
    )
