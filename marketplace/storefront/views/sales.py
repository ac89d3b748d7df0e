"""Following a sale: where the card is, whose turn it is, what each side may say; and an operator's ruling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from listings.cards.photos import BYTES_MAX
from listings.cards.states import Flag
from marketplace.accounts.authentication import Caller, require_any
from marketplace.accounts.models import User
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError, NotFound
from marketplace.sales.bundles import evidence_bundle
from marketplace.sales.models import Lab, Sale
from marketplace.sales.pricing import payout
from marketplace.sales.selectors import any_sale, is_leased, sale_of, sales_of
from marketplace.sales.serializers import side_of
from marketplace.sales.services.addresses import answer_address, may_question, question_address
from marketplace.sales.services.disputing import add_evidence, dispute_sale, rule
from marketplace.sales.services.permission import BEFORE_SHIPPING
from marketplace.sales.services.shipping import (
    Shipment,
    accept_sale,
    prove_arrival,
    receive_sale,
    require_unleased,
    ship_sale,
)
from marketplace.sales.silence import SILENCES, Step, deadline, held_until, step_of
from marketplace.storefront.forms.cards import (
    AddressForm,
    AddressQuestionForm,
    DisputeForm,
    EvidenceForm,
    RulingForm,
    ShipForm,
)
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first, operator_page, sentence
from marketplace.storefront.sale_words import phases_of, turn_of
from nodes.selectors import arrivals_held_up

SELLS = (Scope.FLEET, Scope.TRADE)
SIDES = ("buyer", "seller", "lab")
SENDS = {"seller": Step.TO_SHIP, "lab": Step.FROM_LAB, "buyer": Step.TO_SEND_BACK}
RECEIVES = {
    "buyer": {Step.TO_BUYER, Step.FROM_LAB},
    "lab": {Step.TO_LAB},
    "seller": {Step.ON_ITS_WAY_BACK},
}
ACCEPTS = {
    "buyer": {
        Step.TO_BUYER, Step.FROM_LAB, Step.INSPECTING, Step.DISPUTED_DELIVERED, Step.DISPUTED_UNDELIVERED,
    },
    "seller": {Step.ON_ITS_WAY_BACK, Step.BACK, Step.DISPUTED_RETURNED},
}  # fmt: skip
DISPUTES = {"buyer": {Step.TO_BUYER, Step.FROM_LAB, Step.INSPECTING}, "seller": {Step.BACK}}
MEASURES = {
    "buyer": {
        Step.TO_BUYER, Step.FROM_LAB, Step.INSPECTING, Step.DISPUTED_DELIVERED, Step.DISPUTED_UNDELIVERED,
    },
    "lab": {Step.TO_LAB, Step.AT_LAB},
    "seller": {Step.TO_SEND_BACK, Step.ON_ITS_WAY_BACK, Step.BACK},
}  # fmt: skip
ACTIONS = {"receive": receive_sale, "accept": accept_sale}
SAID = {
    "ship": "Noted: it is on its way.",
    "evidence": "Sent: both sides and operators see it.",
    "question": "Asked: the buyer is to correct the address.",
    "address": "Noted: the seller ships to this address.",
    "dispute": "The dispute is open: an operator looks at what both sides show.",
}
SHOWN_IF = {"ship": "may_ship", "dispute": "may_dispute", "question": "may_question", "address": "may_answer"}
DONE = {"receive": "Noted: it has arrived.", "accept": "Done: the money has moved."}


@require_safe
@firm_page
def sales_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Cards bought by the firm, sold by it, or measured by it as a lab."""
    side = request.GET.get("side", "buyer")
    side = side if side in SIDES else "buyer"
    page = newest_first(sales_of(caller.firm).filter(**{side: caller.firm.pk}), request)
    rows = [(sale, turn_of(step_of(sale.facts()), side)) for sale in page.rows]
    is_lab = Lab.objects.filter(firm=caller.firm).exists()
    return render(request, "storefront/sales/list.html", {"page": page, "rows": rows, "side": side, "is_lab": is_lab})


@require_http_methods(["GET", "POST"])
@firm_page
def sale_page(request: HttpRequest, caller: Caller, sale_id: str) -> HttpResponse:
    """One sale: how far it is, whose turn it is, and what this side may say now."""
    sale = sale_of(caller.firm, sale_id)
    side, step = side_of(sale, caller.firm), step_of(sale.facts())
    name = request.POST.get("form", "") if request.method == "POST" else ""
    form_list = _forms(request, name, sale if side == "buyer" else None)
    if name in form_list and form_list[name].is_valid() and _said(caller, sale, name, form_list[name]):
        messages.success(request, SAID[name])
        return redirect("storefront:sale", sale_id)
    context = _context(sale, side, step) | {"forms": form_list, "is_member": bool(caller.scopes & set(SELLS))}
    context |= _news(request, context)
    is_wrong = any(form.errors for form in form_list.values())
    if name in SHOWN_IF and not context[SHOWN_IF[name]]:  # the sale has moved on, and the form is no longer there
        for text in form_list[name].non_field_errors():
            messages.error(request, str(text))
    return render(request, "storefront/sales/sale.html", context, status=FORM_REFUSED if is_wrong else 200)


@require_POST
@firm_page
def sale_act(request: HttpRequest, caller: Caller, sale_id: str, action: str) -> HttpResponse:
    """It has arrived, or it is fine."""
    sale_of(caller.firm, sale_id)
    if action not in ACTIONS:
        raise NotFound
    require_any(caller, (Scope.TRADE,) if action == "accept" else SELLS)
    try:
        ACTIONS[action](firm=caller.firm, public_id=sale_id, actor=caller.actor, now=clock.now())
        messages.success(request, DONE[action])
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:sale", sale_id)


@require_http_methods(["GET", "POST"])
@operator_page
def dispute_page(request: HttpRequest, sale_id: str) -> HttpResponse:
    """Everything that is known about a sale, and the ruling."""
    sale = any_sale(sale_id)
    form = RulingForm(request.POST or None, sale=sale)
    assert isinstance(request.user, User)
    operator = request.user
    if form.is_valid() and _act(form, lambda: _rule(operator, sale, form)):
        messages.success(request, "Ruled. Both sides see it, and the money has moved if it had to.")
        return redirect("storefront:operator")
    context = _context(sale, "operator", step_of(sale.facts())) | {"form": form}
    return render(request, "storefront/sales/ruling.html", context, status=FORM_REFUSED if form.errors else 200)


@require_POST
@operator_page
def arrival_prove(request: HttpRequest, sale_id: str) -> HttpResponse:
    """The carrier's proof was seen: it is where it was sent."""
    assert isinstance(request.user, User)
    try:
        prove_arrival(operator=request.user, public_id=sale_id, now=clock.now())
        messages.success(request, "Noted: the parcel has arrived.")
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:dispute", sale_id)


def _context(sale: Sale, side: str, step: Step | None) -> dict[str, Any]:
    share = payout(price=sale.price, fee_basis_points=sale.fee_basis_points, buyer_micros=sale.refunded_micros)
    return {
        "sale": sale,
        "side": side,
        "step": step,
        "turn": turn_of(step, side, at_the_end=deadline(sale.facts()) == held_until(sale.facts())),
        "look_days": _look_days(sale),
        "lab_days": SILENCES[Step.AT_LAB].business_days,
        "back_days": SILENCES[Step.BACK].business_days,
        "phases": phases_of(sale),
        "share": share,
        "flags": [Flag(flag).label for flag in sale.flags],
        "price": sale.price,
        "shows_address": sale.paid_at is not None or side == "buyer",
        "bundle": evidence_bundle(sale),
        "disputes": sale.disputes.order_by("pk"),
        "may_question": side == "seller" and may_question(sale),
        "may_answer": side == "buyer" and step == Step.ADDRESS_ASKED,
        "may_ship": (SENDS.get(side) == step or (side, step) == ("seller", Step.ADDRESS_ASKED))
        and not (side == "lab" and sale.onward_tracking),
        "is_leased": step in BEFORE_SHIPPING and is_leased(sale, now=clock.now()),
        "may_receive": step in RECEIVES.get(side, ()),
        "may_accept": step in ACCEPTS.get(side, ()),
        "may_dispute": step in DISPUTES.get(side, ()),
        "may_measure": step in MEASURES.get(side, ()),
        "may_prove": step in {*RECEIVES["buyer"], Step.TO_LAB, Step.ON_ITS_WAY_BACK, Step.DISPUTED_RETURN_UNPROVEN}
        or step == Step.DISPUTED_UNDELIVERED,
        "held_up": arrivals_held_up().filter(card=sale.card).first(),
        "measure": f"fallow-agent measure --role {side} --sale {sale.public_id}",
    }


def _news(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the open page knows in `seen`, so that its status can say when there is more."""
    present = f"{context['step'] or 'over'}.{len(context['bundle']['evidence'])}"
    seen = request.GET.get("seen", present)[:40]
    return {"seen": seen, "is_news": seen != present}


def _look_days(sale: Sale) -> int:
    look = SILENCES[Step.INSPECTING]
    return look.days if sale.ships_from == sale.ships_to or look.days_abroad is None else look.days_abroad


def _forms(request: HttpRequest, name: str, bought: Sale | None) -> dict[str, forms.Form]:
    """Everything that can be said on the page; the one that was sent has its data."""
    said = {"ship": ShipForm, "evidence": EvidenceForm, "dispute": DisputeForm, "question": AddressQuestionForm}
    form_list: dict[str, forms.Form] = {
        each: form(*_data(request, name == each), prefix=each) for each, form in said.items()
    }
    initial = {"address": bought.buyers_address} if bought else {}
    form_list["address"] = AddressForm(*_data(request, name == "address"), prefix="address", initial=initial)
    return form_list


def _data(request: HttpRequest, is_sent: bool) -> tuple[Any, Any]:
    return (request.POST, request.FILES) if is_sent else (None, None)


def _said(caller: Caller, sale: Sale, name: str, form: forms.Form) -> bool:
    """Carry out what one of the page's forms says; a refusal is shown in it."""
    require_any(caller, (Scope.TRADE,) if name in ("dispute", "address") else SELLS)
    acts = {"ship": _ship, "evidence": _evidence, "dispute": _dispute, "question": _question, "address": _address}
    act = acts[name]
    return _act(form, lambda: act(caller, sale, form.cleaned_data))


def _act(form: forms.Form, act: Callable[[], object]) -> bool:
    try:
        act()
    except DomainError as error:
        blame(form, error)
        return False
    return True


def _ship(caller: Caller, sale: Sale, values: dict[str, Any]) -> None:
    common: dict[str, Any] = {"firm": caller.firm, "public_id": sale.public_id, "actor": caller.actor}
    require_unleased(sale, clock.now())  # before the photo is kept as evidence
    photo = values["file"].read(BYTES_MAX + 1)
    label = add_evidence(**common, text="Label", photo=photo, now=clock.now())
    shipment = Shipment(values["carrier"], values["tracking"], label.public_id)
    ship_sale(**common, shipment=shipment, now=clock.now())


def _evidence(caller: Caller, sale: Sale, values: dict[str, Any]) -> None:
    photo = values["file"].read(BYTES_MAX + 1) if values["file"] else None
    add_evidence(
        firm=caller.firm,
        public_id=sale.public_id,
        text=values["text"],
        photo=photo,
        actor=caller.actor,
        now=clock.now(),
    )


def _dispute(caller: Caller, sale: Sale, values: dict[str, Any]) -> None:
    dispute_sale(firm=caller.firm, public_id=sale.public_id, text=values["text"], actor=caller.actor, now=clock.now())


def _question(caller: Caller, sale: Sale, values: dict[str, Any]) -> None:
    question_address(firm=caller.firm, public_id=sale.public_id, actor=caller.actor, now=clock.now(), **values)


def _address(caller: Caller, sale: Sale, values: dict[str, Any]) -> None:
    answer_address(firm=caller.firm, public_id=sale.public_id, actor=caller.actor, now=clock.now(), **values)


def _rule(operator: User, sale: Sale, form: RulingForm) -> None:
    values = form.cleaned_data
    rule(
        operator=operator,
        public_id=sale.public_id,
        ruling=values["ruling"],
        refund_micros=values["refund"],
        text=values["text"],
        now=clock.now(),
    )
