"""Ordering: look at the total, confirm, see what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from listings.offers import Offer
from listings.search import all_offers
from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.book.pricing import worst_case_micros
from marketplace.catalogue.selectors import model_by_slug
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.hints import ring
from marketplace.common.ids import random_text
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.orders.models import Order
from marketplace.orders.selectors import order_of, orders_of
from marketplace.orders.services.closing import request_cancel
from marketplace.orders.services.placing import OrderRequest, place_order_once
from marketplace.orders.services.waiting import is_closed, wait_until, was_seen
from marketplace.orders.states import OrderState, TimeInForce
from marketplace.storefront.forms.buying import OrderForm, StandingOrderForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first

WAIT_SECONDS = 2
SIMPLEST_IMAGE = "fallow/demo"


@dataclass(frozen=True, slots=True)
class Quote:
    """The all-in total of what the form asks for; nothing is added to it later."""

    price_micros: int
    total_micros: int
    available_micros: int
    currency: str
    key: str

    @property
    def is_affordable(self) -> bool:
        return self.total_micros <= self.available_micros

    @property
    def missing_micros(self) -> int:
        return self.total_micros - self.available_micros


@require_safe
@firm_page
def orders_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The firm's orders, newest first."""
    return render(request, "storefront/buy/orders.html", {"page": newest_first(orders_of(caller.firm), request)})


@require_safe
@firm_page
def order_page(request: HttpRequest, caller: Caller, order_id: str) -> HttpResponse:
    """One order and its leases."""
    order = order_of(caller.firm, order_id)
    leases = list(order.leases.order_by("pk"))
    response = render(request, "storefront/buy/order.html", {"order": order, "leases": leases})
    if request.headers.get("HX-Request") and request.GET.get("seen") != f"{order.state}-{len(leases)}":
        response.headers["HX-Refresh"] = "true"
    return response


@require_http_methods(["GET", "POST"])
@firm_page
def order_new(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Take an offer: fill in, look at the total, confirm. The offer is looked up again at every step."""
    now = clock.now()
    wanted = request.POST if request.method == "POST" else request.GET
    offer = _offer(caller, wanted, now)
    if offer is None:
        return render(request, "storefront/buy/gone.html", {"gpu": wanted.get("gpu", "")}, status=409)
    form = OrderForm(request.POST or None, initial=_initial(caller, request))
    quote = None
    if form.is_valid():
        quote = _quote(caller, offer.price_micros_per_gpu_hour, offer.currency, form, request)
        if "confirm" in request.POST and quote.is_affordable:
            if int(request.POST.get("shown_price") or 0) >= offer.price_micros_per_gpu_hour:
                if order := _place(request, caller, form, _take(form, offer, quote, now), now):
                    return _after(request, order)
            else:
                messages.warning(request, "The price has changed since you looked. Please check it again.")
    context = {"form": form, "offer": offer, "quote": quote}
    return render(request, "storefront/buy/order_new.html", context, status=FORM_REFUSED if form.errors else 200)


@require_http_methods(["GET", "POST"])
@firm_page
def standing_order(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Wait in the book for a model at a price."""
    now = clock.now()
    slug = request.POST.get("gpu") or request.GET.get("gpu", "")
    model = model_by_slug(slug)
    form = StandingOrderForm(request.POST or None, initial=_initial(caller, request) | {"gpu": model.slug})
    quote = None
    if form.is_valid():
        quote = _quote(caller, form.cleaned_data["price"], form.cleaned_data["currency"], form, request)
        is_confirmed = "confirm" in request.POST and quote.is_affordable
        if is_confirmed and (order := _place(request, caller, form, _rest(form, quote), now)):
            return _after(request, order)
    context = {"form": form, "model": model, "quote": quote}
    return render(request, "storefront/buy/order_new.html", context, status=FORM_REFUSED if form.errors else 200)


@require_POST
@firm_page
def order_cancel(request: HttpRequest, caller: Caller, order_id: str) -> HttpResponse:
    """Take it out of the book; the money returns to the wallet."""
    require(caller, Scope.TRADE)
    try:
        order = request_cancel(firm=caller.firm, public_id=order_id, actor=caller.actor, now=clock.now())
        ring("inbox")
        order = wait_until(order, is_closed, seconds=WAIT_SECONDS)
        is_over = order.state != OrderState.OPEN
        messages.success(request, "The order is cancelled." if is_over else "The order is being cancelled.")
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("storefront:order", order_id)


def _offer(caller: Caller, wanted: QueryDict, now: datetime) -> Offer | None:
    """The offer that was clicked on, as it is now; cards of one model may differ in memory on one node."""
    named = tuple(wanted.get(name, "") for name in ("listing", "node", "gpu", "memory_mib"))
    offers = all_offers(now=now, exclude_firm_pk=caller.firm.pk)
    return next((each for each in offers if (each.listing, each.node, each.gpu, str(each.memory_mib)) == named), None)


def _initial(caller: Caller, request: HttpRequest) -> dict[str, Any]:
    last = Order.objects.filter(firm=caller.firm).order_by("-pk").first()
    workload = last.workload if last else {}
    hours, count = request.GET.get("hours", ""), request.GET.get("count", "")
    return {
        "count": count if count.isdecimal() else 1,
        "duration": hours if hours.isdecimal() else 1,
        "duration_unit": "3600",
        "image": workload.get("image", SIMPLEST_IMAGE if settings.DEMO else ""),
        "ssh_public_key": workload.get("ssh_public_key", ""),
        "disk_gib": workload.get("disk_gib", 10),
    }


def _quote(caller: Caller, price_micros: int, currency: str, form: OrderForm, request: HttpRequest) -> Quote:
    total = worst_case_micros(
        price_micros_per_gpu_hour=price_micros,
        count=form.cleaned_data["count"],
        duration_seconds=form.duration_seconds(),
    )
    return Quote(
        price_micros=price_micros,
        total_micros=total,
        available_micros=balance_micros(firm=caller.firm, kind=AccountKind.WALLET, currency=currency),
        currency=currency,
        key=request.POST.get("key") or random_text(24),
    )


def _take(form: OrderForm, offer: Offer, quote: Quote, now: datetime) -> OrderRequest:
    return OrderRequest(
        count=form.cleaned_data["count"],
        duration_seconds=form.duration_seconds(),
        currency=offer.currency,
        cap_micros=quote.price_micros,
        time_in_force=TimeInForce.IOC,
        workload=form.workload(),
        offer=offer.token(now),
        memory_mib_min=offer.memory_mib,
    )


def _rest(form: StandingOrderForm, quote: Quote) -> OrderRequest:
    return OrderRequest(
        count=form.cleaned_data["count"],
        duration_seconds=form.duration_seconds(),
        currency=quote.currency,
        cap_micros=quote.price_micros,
        time_in_force=TimeInForce.GTC,
        workload=form.workload(),
        gpus=(form.cleaned_data["gpu"],),
    )


def _place(request: HttpRequest, caller: Caller, form: OrderForm, wanted: OrderRequest, now: datetime) -> Order | None:
    require(caller, Scope.TRADE)
    body = {name: request.POST.getlist(name) for name in request.POST if name != "csrfmiddlewaretoken"}
    key = f"page-{request.POST.get('key', '')}"
    try:
        return place_order_once(firm=caller.firm, actor=caller.actor, request=wanted, key=key, body=body, now=now)
    except DomainError as error:
        blame(form, error)
        return None


def _after(request: HttpRequest, order: Order) -> HttpResponse:
    ring("inbox")
    order = wait_until(order, was_seen, seconds=WAIT_SECONDS)
    lease = order.leases.order_by("-pk").first()
    if lease and order.state == OrderState.FILLED:
        messages.success(request, "The cards are yours. Your container is being started.")
        return redirect("storefront:lease", lease.public_id)
    return redirect("storefront:order", order.public_id)
