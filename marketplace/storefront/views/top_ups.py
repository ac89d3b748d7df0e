"""The saved card and automatic top-ups: below how much a wallet is filled, by how much, and what needs its owner."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit, TopUpRule
from marketplace.payments.saved_cards import card_of, is_opening, save_card
from marketplace.payments.selectors import STRIPE
from marketplace.payments.states import DepositState
from marketplace.payments.top_ups import end_rule, set_rule
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, sentence

PAGE = "storefront:top-ups"


class TopUpForm(PageForm):
    """Below how much, by how much, of which currency."""

    below = AmountField(label="When the wallet falls below")
    amount = AmountField(label="Charge my card")
    currency = forms.ChoiceField(
        label="Currency",
        choices=lambda: [each for each in currency_choices() if each[0] in STRIPE.capabilities().currencies],
    )


@require_http_methods(["GET", "POST"])
@firm_page
def top_ups_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The card, the rules, and what waits for the firm."""
    form = TopUpForm(request.POST or None)
    if form.is_valid() and _set(request, caller, form):
        return redirect(PAGE)
    card = card_of(caller.firm)
    if "back" in request.GET and card is not None and card.page_id:
        look_at(card.gateway, "checkout.session", card.page_id, now=clock.now())
    rules = TopUpRule.objects.filter(firm=caller.firm).order_by("currency")
    context = {
        "card": card,
        "is_opening": card is not None and is_opening(card),
        "rules": rules,
        "waiting": Deposit.objects.filter(rule__in=rules, state=DepositState.CREATED).exclude(pay_url=""),
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "may_pay": Scope.FINANCE in caller.scopes,
        "seen": f"{card.page_url[-8:]}-{card.label}-{is_opening(card)}" if card else "",
    }
    response = render(request, "storefront/money/top_ups.html", context, status=FORM_REFUSED if form.errors else 200)
    if request.headers.get("HX-Request") and request.GET.get("seen") != context["seen"]:
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@firm_page
def card_save(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Have the page opened on which a card is saved."""
    require(caller, Scope.FINANCE)
    try:
        save_card(firm=caller.firm, key=f"page-{request.POST.get('key', '')}", now=clock.now())
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect(PAGE)


@require_POST
@firm_page
def top_up_end(request: HttpRequest, caller: Caller, rule_id: str) -> HttpResponse:
    """No more charges for this wallet."""
    require(caller, Scope.FINANCE)
    try:
        end_rule(firm=caller.firm, rule_id=rule_id, now=clock.now(), actor=caller.actor)
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect(PAGE)


def _set(request: HttpRequest, caller: Caller, form: TopUpForm) -> bool:
    require(caller, Scope.FINANCE)
    try:
        set_rule(
            firm=caller.firm,
            currency=form.cleaned_data["currency"],
            below_micros=form.cleaned_data["below"],
            amount_micros=form.cleaned_data["amount"],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
            actor=caller.actor,
        )
    except DomainError as error:
        blame(form, error)
        return False
    return True
