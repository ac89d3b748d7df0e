"""The seller's listings."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from listings.models import CapacityListing
from listings.selectors import listings_of
from listings.services import close_listing, list_at_once, open_listing, pause_listing
from marketplace.accounts.authentication import Caller, require_any
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError, NotFound
from marketplace.common.hints import ring
from marketplace.ledger.fees import split_charge
from marketplace.storefront.forms.selling import ListingForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first

SELLS = (Scope.FLEET, Scope.TRADE)
ACTIONS = {"open": open_listing, "pause": pause_listing, "close": close_listing}
DONE = {
    "open": "The listing is open: its idle cards are on offer.",
    "pause": "The listing is paused. Running leases go on.",
    "close": "The listing is closed. Running leases go on.",
}
POINTERS = {
    "/ask_per_gpu_hour": "ask",
    "/min_duration_seconds": "shortest",
    "/max_duration_seconds": "longest",
    "/window_end_at": "days",
    "/pool/gpu": "pool_gpu",
}


@require_safe
@firm_page
def listings_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The firm's listings, newest first."""
    page = newest_first(listings_of(caller.firm), request)
    rows = [(listing, _earned(listing.ask_micros_per_gpu_hour)) for listing in page.rows]
    may_sell = bool(caller.scopes & set(SELLS))
    return render(request, "storefront/sell/listings.html", {"page": page, "rows": rows, "may_sell": may_sell})


@require_http_methods(["GET", "POST"])
@firm_page
def listing_new(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Say what, for how much and for how long; look at what is earned; list it."""
    initial = {"cards": request.GET.getlist("card"), "ask": request.GET.get("ask", "")}
    form = ListingForm(request.POST or None, firm=caller.firm, initial=initial)
    if form.is_valid() and "confirm" in request.POST and _create(caller, form):
        messages.success(request, DONE["open"])
        return redirect("storefront:listings")
    ask = form.cleaned_data["ask"] if form.is_valid() else None
    context = {
        "form": form,
        "ask_micros": ask,
        "earned_micros": _earned(ask) if ask else None,
        "fee_basis_points": settings.PLATFORM_FEE_BASIS_POINTS,
    }
    return render(request, "storefront/sell/listing_new.html", context, status=FORM_REFUSED if form.errors else 200)


@require_POST
@firm_page
def listing_act(request: HttpRequest, caller: Caller, listing_id: str, action: str) -> HttpResponse:
    """Open, pause or close it."""
    if action not in ACTIONS:
        raise NotFound
    require_any(caller, SELLS)
    try:
        ACTIONS[action](firm=caller.firm, public_id=listing_id, actor=caller.actor, now=clock.now())
        ring("inbox")
        messages.success(request, DONE[action])
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("storefront:listings")


def _create(caller: Caller, form: ListingForm) -> CapacityListing | None:
    require_any(caller, SELLS)
    now = clock.now()
    try:
        listing = list_at_once(firm=caller.firm, terms=form.terms(now), actor=caller.actor, now=now)
    except DomainError as error:
        blame(form, error, POINTERS)
        return None
    ring("inbox")
    return listing


def _earned(ask_micros: int) -> int:
    return split_charge(charge_micros=ask_micros, fee_basis_points=settings.PLATFORM_FEE_BASIS_POINTS)[0]
