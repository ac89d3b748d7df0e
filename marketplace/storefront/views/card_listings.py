"""Selling cards: the seller's listings, their photos, and putting them into the book."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from listings.cards.models import CardListingCard
from listings.cards.photos import BYTES_MAX
from listings.cards.proof import SELLER
from listings.cards.selectors import card_listing_of, card_listings_of
from listings.cards.services import (
    PHOTOS_NEEDED,
    add_photo,
    close_card_listing,
    create_card_listing,
    open_card_listing,
    pause_card_listing,
)
from listings.cards.states import Flag
from listings.models import CardListing
from marketplace.accounts.authentication import Caller, require_any
from marketplace.common import clock
from marketplace.common.errors import DomainError, NotFound
from marketplace.sales.pricing import Landed, payout
from marketplace.storefront.forms.cards import CardListingForm, PhotoForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first, sentence
from marketplace.storefront.views.listings import SELLS
from nodes.selectors import latest_passport

ACTIONS = {"open": open_card_listing, "pause": pause_card_listing, "close": close_card_listing}
DONE = {
    "open": "The cards are for sale.",
    "pause": "The listing is paused. Agreed sales go on.",
    "close": "The listing is closed. Agreed sales go on.",
}
POINTERS = {"/grade_appearance": "appearance_grade"}


@require_safe
@firm_page
def card_listings_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The firm's card listings, newest first."""
    page = newest_first(card_listings_of(caller.firm), request)
    rows = [
        (listing, _earned(listing), [each for each in listing.lot.all() if not each.taken_by]) for listing in page.rows
    ]
    context = {"page": page, "rows": rows, "may_sell": bool(caller.scopes & set(SELLS))}
    return render(request, "storefront/cards/own_listings.html", context)


@require_http_methods(["GET", "POST"])
@firm_page
def card_listing_new(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Say what, for how much and how it ships; photos come next."""
    initial = {"cards": request.GET.getlist("card"), "ships_from": caller.firm.headquarters_country}
    form = CardListingForm(request.POST or None, firm=caller.firm, initial=initial)
    if form.is_valid() and (listing := _create(caller, form)):
        return redirect("storefront:card-listing-own", listing.public_id)
    context = {"form": form, "fee_basis_points": settings.CARD_FEE_BASIS_POINTS}
    return render(request, "storefront/cards/listing_new.html", context, status=FORM_REFUSED if form.errors else 200)


@require_http_methods(["GET", "POST"])
@firm_page
def card_listing_own(request: HttpRequest, caller: Caller, listing_id: str) -> HttpResponse:
    """The seller's side of a listing: its code, its photos, and the buttons."""
    listing = card_listing_of(caller.firm, listing_id)
    form = PhotoForm(request.POST or None, request.FILES or None)
    if form.is_valid() and _upload(caller, form, listing):
        messages.success(request, "The photo is kept, without where and with what it was taken.")
        return redirect("storefront:card-listing-own", listing_id)
    kinds = {photo.kind for photo in listing.photos.all()}
    lot = _lot(listing)
    context = {
        "listing": listing,
        "form": form,
        "lot": lot,
        "unmeasured": sum(not passport for _, passport in lot),
        "flags": [Flag(flag).label for flag in listing.flags],
        "missing": [kind.label for kind in PHOTOS_NEEDED if kind not in kinds],
        "earned_micros": _earned(listing),
        "may_sell": bool(caller.scopes & set(SELLS)),
    }
    return render(request, "storefront/cards/listing_own.html", context, status=FORM_REFUSED if form.errors else 200)


@require_POST
@firm_page
def card_listing_act(request: HttpRequest, caller: Caller, listing_id: str, action: str) -> HttpResponse:
    """Open, pause or close it."""
    if action not in ACTIONS:
        raise NotFound
    require_any(caller, SELLS)
    try:
        ACTIONS[action](firm=caller.firm, public_id=listing_id, actor=caller.actor, now=clock.now())
        messages.success(request, DONE[action])
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:card-listing-own", listing_id)


def _create(caller: Caller, form: CardListingForm) -> CardListing | None:
    require_any(caller, SELLS)
    try:
        return create_card_listing(firm=caller.firm, terms=form.terms(), actor=caller.actor, now=clock.now())
    except DomainError as error:
        blame(form, error, POINTERS)
        return None


def _upload(caller: Caller, form: PhotoForm, listing: CardListing) -> bool:
    require_any(caller, SELLS)
    values = form.cleaned_data
    try:
        data = values["file"].read(BYTES_MAX + 1)
        add_photo(firm=caller.firm, public_id=listing.public_id, kind=values["kind"], data=data, now=clock.now())
    except DomainError as error:
        blame(form, error)
        return False
    return True


def _lot(listing: CardListing) -> list[tuple[CardListingCard, str]]:
    """Its cards, each with the passport that it is or would be sold by; none when it must be measured first."""
    now, rows = clock.now(), []
    for each in sorted(listing.lot.all(), key=lambda each: each.card_id):
        newest = None if each.passport else latest_passport(each.card, role=SELLER, now=now)
        rows.append((each, each.passport or (newest.public_id if newest and newest.firm_id == listing.firm_id else "")))
    return rows


def _earned(listing: CardListing) -> int:
    return payout(price=Landed(listing.ask_micros, 0, 0), fee_basis_points=settings.CARD_FEE_BASIS_POINTS).seller_micros
