"""The public pages: the start and the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from listings.offers import Offer
from listings.search import OfferFilters, Relaxation, all_offers, relaxations, search_offers
from marketplace.accounts.authentication import session_caller
from marketplace.book.pricing import worst_case_micros
from marketplace.common import clock
from marketplace.storefront.forms.buying import OfferSearchForm
from marketplace.storefront.http import page

LICENCES = Path(__file__).parents[1] / "static" / "build" / "licences.txt"
OFFERS_SHOWN = 100
# A search's filter → the parameters of the page's URL that set it, and what it is called.
GIVING_UP = {
    "currency": (("currency",), "the currency"),
    "gpu": (("gpu",), "the GPU model"),
    "memory_mib_min": (("memory_gib",), "the memory"),
    "count": (("count",), "the number of GPUs"),
    "region": (("region",), "the region"),
    "country": (("country",), "the country"),
    "duration_seconds": (("hours",), "the duration"),
    "price_micros_max": (("price",), "the highest price"),
    "tier": (("tier",), "the proof"),
    "reliability_basis_points_min": (("kept",), "the leases kept"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """An offer and what it would cost for the duration that was asked for."""

    offer: Offer
    total_micros: int | None


@dataclass(frozen=True, slots=True)
class WayOut:
    """A filter to give up, the URL without it, and what that opens."""

    name: str
    query: str
    relaxation: Relaxation


@require_safe
@page
def home(request: HttpRequest) -> HttpResponse:
    """What Fallow is, and what can be rented this minute."""
    offers = all_offers(now=clock.now())
    cheapest = min(offers, key=lambda offer: offer.price_micros_per_gpu_hour, default=None)
    context = {
        "gpus": sum(offer.count for offer in offers),
        "sellers": len({offer.seller for offer in offers}),
        "models": len({offer.gpu for offer in offers}),
        "cheapest": cheapest,
    }
    return render(request, "storefront/home.html", context)


@require_safe
@page
def offers_page(request: HttpRequest) -> HttpResponse:
    """Search; the filters are the URL."""
    caller, now = session_caller(request), clock.now()
    own = caller.firm.pk if caller else None
    everything = all_offers(now=now, exclude_firm_pk=own)
    form = OfferSearchForm(request.GET, everything)
    found: list[Offer] = []
    ways_out: list[WayOut] = []
    if form.is_valid():
        filters = form.filters(exclude_firm_pk=own)
        found = search_offers(filters=filters, now=now, sort=form.cleaned_data.get("sort") or "price")
        ways_out = [] if found else _ways_out(request, everything, filters)
    context = {
        "form": form,
        "rows": [Row(offer, _total(offer, form)) for offer in found[:OFFERS_SHOWN]],
        "found": len(found),
        "shown": OFFERS_SHOWN,
        "everything": len(everything),
        "ways_out": ways_out,
        "hours": form.cleaned_data.get("hours") if form.is_valid() else None,
        "count": (form.cleaned_data.get("count") or 1) if form.is_valid() else 1,
    }
    return render(request, "storefront/buy/offers.html", context)


@require_safe
def licences(request: HttpRequest) -> FileResponse:
    """The licences of what the pages contain."""
    if not LICENCES.is_file():
        raise Http404
    return FileResponse(LICENCES.open("rb"), content_type="text/plain; charset=utf-8")


def _total(offer: Offer, form: OfferSearchForm) -> int | None:
    hours = form.cleaned_data.get("hours")
    if not hours:
        return None
    count = form.cleaned_data.get("count") or 1
    return worst_case_micros(
        price_micros_per_gpu_hour=offer.price_micros_per_gpu_hour, count=count, duration_seconds=hours * 3600
    )


def _ways_out(request: HttpRequest, offers: Sequence[Offer], filters: OfferFilters) -> list[WayOut]:
    return [
        WayOut(GIVING_UP[each.filter][1], _without(request, GIVING_UP[each.filter][0]), each)
        for each in relaxations(offers=offers, filters=filters)
    ]


def _without(request: HttpRequest, names: tuple[Any, ...]) -> str:
    parameters = request.GET.copy()
    for name in names:
        parameters.pop(name, None)
    return f"?{parameters.urlencode()}"
