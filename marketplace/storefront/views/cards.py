"""Buying cards: the market, a model's book with its history, a listing, a bid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from listings.cards.selectors import open_card_listings, visible_card_listing
from listings.cards.states import Flag
from listings.models import CardListing
from listings.states import ListingState
from marketplace.accounts.authentication import Caller, require, session_caller
from marketplace.accounts.roles import Scope
from marketplace.book.models import CardTrade
from marketplace.book.selectors import card_tape
from marketplace.catalogue.models import GpuModel
from marketplace.catalogue.selectors import listed_models, model_by_slug
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.events.services import is_remembered
from marketplace.fleet.card_market import CardMarket
from marketplace.fleet.guide import Guide, Wanted
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros, wallet_balances
from marketplace.payments.selectors import STRIPE, gateways
from marketplace.sales.models import CardBid, CardPurchase
from marketplace.sales.selectors import bids_of
from marketplace.sales.services.bidding import Quote, buy_once, cancel_bid_once, place_bid_once, quote
from marketplace.sales.services.purchases import buy_by_card_once, lacking_micros
from marketplace.sales.states import BidState
from marketplace.sales.supply import sellable_cards
from marketplace.storefront.forms.card_search import CardSearchForm
from marketplace.storefront.forms.cards import BidForm, BuyForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first, page, sentence
from marketplace.storefront.wording import memory
from nodes.selectors import passport_of

TRADES_SHOWN = 30
RECENT_SHOWN = 10
LISTINGS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing with what is left of it and from when on its first card ships."""

    listing: CardListing
    count: int
    ships_after_at: datetime


@require_safe
@page
def cards_page(request: HttpRequest) -> HttpResponse:
    """Every card that can be bought now, cheapest first within its model; the filters are the URL."""
    if wanted := request.GET.get("model"):
        return redirect("storefront:card-model", model_by_slug(wanted).slug)
    listings = open_card_listings()
    models = listings.order_by("gpu_model__marketing_name").values_list("gpu_model__slug", "gpu_model__marketing_name")
    form = CardSearchForm(request.GET, models.distinct())
    found = listings.none()
    if form.is_valid():
        found = listings.filter(form.condition()).order_by("gpu_model__marketing_name", "ask_micros", "pk")
    offers = _offers(found[:LISTINGS_SHOWN])
    offers.sort(key=lambda each: (each.listing.gpu_model.marketing_name, each.listing.ask_micros))
    context = {
        "form": form,
        "offers": offers,
        "is_searched": bool(set(request.GET) & set(form.fields)),
        "recent": CardTrade.objects.filter(undone_at=None).order_by("-pk")[:RECENT_SHOWN],
        "models": listed_models().order_by("marketing_name"),
    }
    return render(request, "storefront/cards/market.html", context)


@require_http_methods(["GET", "POST"])
@page
def card_model_page(request: HttpRequest, gpu: str) -> HttpResponse:
    """One model: its book, its last sales, and a form to bid."""
    caller, model, now = session_caller(request), model_by_slug(gpu), clock.now()
    form = None
    if caller:
        form = BidForm(request.POST or None, memories=_memories(model), initial=_whereto(caller))
        if form.is_valid() and (bid := _place(request, caller, form, gpu)):
            text = "The bid is in the book." if bid.state == BidState.OPEN else "The cards are yours."
            messages.success(request, text)
            return redirect("storefront:card-bids")
    bids = CardBid.objects.filter(gpu_model=model, state=BidState.OPEN, expires_at__gt=now, pinned_listing="")
    offers = _offers(open_card_listings().filter(gpu_model=model)[:LISTINGS_SHOWN])
    trades = list(card_tape(gpu).order_by("-pk")[:TRADES_SHOWN])
    context = {
        "model": model,
        "offers": sorted(offers, key=lambda each: (each.listing.ask_micros, each.listing.priced_at or now)),
        "bids": bids.annotate(left=F("count") - F("filled_count")).order_by("-limit_micros", "priced_at")[
            :LISTINGS_SHOWN
        ],
        "bid_days": settings.CARD_BID_DAYS_MAX,
        "trades": trades,
        "last": next((trade for trade in trades if trade.delivered_at), None),
        "guide": _guide(model, now),
        "guide_memory_mib": model.memory_mib,
        "form": form,
        "wallets": wallet_balances(caller.firm) if caller else [],
        "key": request.POST.get("key") or random_text(24),
    }
    status = FORM_REFUSED if form and form.errors else 200
    return render(request, "storefront/cards/model.html", context, status=status)


@require_http_methods(["GET", "POST"])
@page
def card_listing_page(request: HttpRequest, listing_id: str) -> HttpResponse:
    """One listing: photos, passports, terms; the landed price before anything is bought."""
    caller = session_caller(request)
    if caller and (bid := _bought_before(request, caller, listing_id)):
        return _to_sales(request, bid)
    listing = visible_card_listing(caller.firm if caller else None, listing_id)
    free = {each.card_id: each.ships_after_at for each in sellable_cards(now=clock.now(), listing_ids=[listing.pk])}
    form, quoted = None, None
    if caller and caller.firm.pk != listing.firm_id:
        form = BuyForm(request.POST or None, listing=listing, left=len(free), initial=_whereto(caller))
        quoted = _quote(caller, form, listing) if form.is_valid() else None
        if quoted and "confirm" in request.POST and (bid := _buy(request, caller, form, listing, quoted)):
            return _to_sales(request, bid)
        if quoted and "by_card" in request.POST and (bought := _buy_by_card(request, caller, form, listing)):
            return redirect("storefront:deposit", bought.deposit.public_id)
    lot = [(each, free.get(each.card_id)) for each in sorted(listing.lot.all(), key=lambda each: each.card_id)]
    named = next((each.passport for each, _ in lot if each.passport), "")
    context = {
        "listing": listing,
        "is_open": listing.state == ListingState.OPEN,
        "is_own": caller is not None and caller.firm.pk == listing.firm_id,
        "lot": lot,
        "left": len(free),
        "flags": [Flag(flag).label for flag in listing.flags],
        "findings": passport_of(named).findings if named else [],
        "form": form,
        "quote": quoted,
        "total_micros": quoted.price.total_micros * form.cleaned_data["count"] if quoted and form else None,
        "available_micros": _available(caller, listing.currency),
        "lacking_micros": _lacking(caller, form, quoted) if caller and quoted and form else 0,
        "key": request.POST.get("key") or random_text(24),
    }
    status = FORM_REFUSED if form and form.errors else 200
    return render(request, "storefront/cards/listing.html", context, status=status)


@require_safe
@firm_page
def card_bids_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The firm's bids, newest first."""
    context = {"page": newest_first(bids_of(caller.firm), request), "key": random_text(24)}
    return render(request, "storefront/cards/bids.html", context)


@require_POST
@firm_page
def card_bid_cancel(request: HttpRequest, caller: Caller, bid_id: str) -> HttpResponse:
    """Take what is not agreed out of the book."""
    require(caller, Scope.TRADE)
    try:
        key = f"page-{request.POST.get('key', '')}"
        cancel_bid_once(firm=caller.firm, public_id=bid_id, actor=caller.actor, key=key, now=clock.now())
        messages.success(request, "The bid is cancelled and its money is back in the wallet.")
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:card-bids")


def _offers(listings: Sequence[CardListing] | Any) -> list[Offer]:
    rows = {listing.pk: listing for listing in listings}
    free: dict[int, list[datetime]] = {}
    for each in sellable_cards(now=clock.now(), listing_ids=list(rows)):
        free.setdefault(each.listing_id, []).append(each.ships_after_at)
    return [Offer(rows[pk], len(times), min(times)) for pk, times in free.items()]


def _guide(model: GpuModel, now: datetime) -> Guide | None:
    """What a card of the factory's memory is worth in the exchange's own currency."""
    currency = settings.CURRENCIES[0]
    wanted = Wanted(model_slug=model.slug, memory_mib=model.memory_mib, currency=currency, is_modified=False)
    return CardMarket(currency, now=now).guide(wanted)


def _memories(model: GpuModel) -> list[tuple[int, str]]:
    listed = set(open_card_listings().filter(gpu_model=model).values_list("memory_mib", flat=True))
    factory = set(model.memory_sizes_mib)
    return [(mib, memory(mib)) for mib in sorted(listed | factory)]


def _whereto(caller: Caller) -> dict[str, Any]:
    last = bids_of(caller.firm).order_by("-pk").first()
    if last:
        return {"ships_to": last.ships_to, "address": last.address}
    return {"ships_to": caller.firm.headquarters_country}


def _quote(caller: Caller, form: BuyForm, listing: CardListing) -> Quote | None:
    try:
        return quote(firm=caller.firm, take=form.take(listing.public_id), now=clock.now())
    except DomainError as error:
        blame(form, error)
        return None


def _bought_before(request: HttpRequest, caller: Caller, listing_id: str) -> CardBid | None:
    """What the same form has bought already: a second click finds the last card's listing closed by the first."""
    form = BuyForm(request.POST or None)
    key = f"page-{request.POST.get('key', '')}"
    if "confirm" not in request.POST or not is_remembered(firm_id=caller.firm.pk, key=key) or not form.is_valid():
        return None
    require(caller, Scope.TRADE)
    body = _body(request)
    take = form.take(listing_id)
    return buy_once(firm=caller.firm, actor=caller.actor, take=take, key=key, body=body, now=clock.now())


def _body(request: HttpRequest) -> dict[str, list[str]]:
    return {name: request.POST.getlist(name) for name in request.POST if name != "csrfmiddlewaretoken"}


def _buy(request: HttpRequest, caller: Caller, form: BuyForm, listing: CardListing, quoted: Quote) -> CardBid | None:
    require(caller, Scope.TRADE)
    shown = request.POST.get("shown_total", "")
    if not shown.isdecimal() or int(shown) < quoted.price.total_micros:
        messages.warning(request, "The price has changed since you looked. Please check it again.")
        return None
    take = form.take(listing.public_id, most_micros=int(shown))
    key = f"page-{request.POST.get('key', '')}"
    try:
        return buy_once(firm=caller.firm, actor=caller.actor, take=take, key=key, body=_body(request), now=clock.now())
    except DomainError as error:
        blame(form, error)
        return None


def _lacking(caller: Caller, form: BuyForm, quoted: Quote) -> int:
    """What a card can pay of it; 0 where cards do not pay in this currency."""
    takes = STRIPE.name in gateways() and quoted.currency in STRIPE.capabilities().currencies
    return lacking_micros(caller.firm, quoted, form.cleaned_data["count"]) if takes else 0


def _buy_by_card(request: HttpRequest, caller: Caller, form: BuyForm, listing: CardListing) -> CardPurchase | None:
    require(caller, Scope.TRADE)
    shown = request.POST.get("shown_total", "")
    take = form.take(listing.public_id, most_micros=int(shown) if shown.isdecimal() else 0)
    key, now = f"page-{request.POST.get('key', '')}", clock.now()
    try:
        return buy_by_card_once(firm=caller.firm, actor=caller.actor, take=take, key=key, body=_body(request), now=now)[
            0
        ]
    except DomainError as error:
        blame(form, error)
        return None


def _place(request: HttpRequest, caller: Caller, form: BidForm, gpu: str) -> CardBid | None:
    require(caller, Scope.TRADE)
    key, now = f"page-{request.POST.get('key', '')}", clock.now()
    try:
        return place_bid_once(
            firm=caller.firm, actor=caller.actor, request=form.request(gpu), key=key, body=_body(request), now=now
        )
    except DomainError as error:
        blame(form, error)
        return None


def _to_sales(request: HttpRequest, bid: CardBid) -> HttpResponse:
    sales = list(bid.sales.order_by("pk"))
    messages.success(request, "Bought. The money is held until you have the card and it is what was sold.")
    return redirect("storefront:sale", sales[0].public_id) if len(sales) == 1 else redirect("storefront:sales")


def _available(caller: Caller | None, currency: str) -> int | None:
    return balance_micros(firm=caller.firm, kind=AccountKind.WALLET, currency=currency) if caller else None
