"""The seller's payouts and bank account."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.models import Membership
from marketplace.accounts.roles import Role, Scope
from marketplace.common import clock
from marketplace.common.addresses import client_address
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.payments.payouts.selectors import all_terms, details_held, details_in_force, payouts_of
from marketplace.payments.payouts.services.asking import cancel_payout, request_payout
from marketplace.payments.payouts.services.details import change_bank_details, withdraw_bank_details
from marketplace.payments.selectors import WIRE
from marketplace.payments.sellers import way_of_paying
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.http import blame, firm_page, form_status, newest_first, sentence

CENT_MICROS = 10_000
PAGE = "storefront:payouts"


class PayoutForm(PageForm):
    """How much, in which currency."""

    amount = AmountField(label="Amount", tick_micros=CENT_MICROS)
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)


class DetailsForm(PageForm):
    """A bank account, and the password of whoever names it."""

    holder = forms.CharField(label="Account holder", max_length=70)
    account = forms.CharField(
        label="IBAN or account number", max_length=60, widget=forms.TextInput(attrs={"class": "input mono"})
    )
    bic = forms.CharField(
        label="BIC", max_length=16, required=False, widget=forms.TextInput(attrs={"class": "input mono"})
    )
    password = forms.CharField(
        label="Your password",
        max_length=200,
        strip=False,
        widget=forms.PasswordInput(attrs={"class": "input", "autocomplete": "current-password"}),
    )


@require_http_methods(["GET", "POST"])
@firm_page
def payouts_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """What is free, what was asked for, and where it goes."""
    now, by_wire = clock.now(), way_of_paying(caller.firm) == WIRE.name
    form = PayoutForm(request.POST or None)
    if form.is_valid() and _ask(request, caller, form):
        return redirect(PAGE)
    context = {
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "terms": all_terms(caller.firm, now),
        "page": newest_first(payouts_of(caller.firm), request),
        "details": details_in_force(caller.firm, now),
        "held": details_held(caller.firm, now),
        "by_wire": by_wire,
        "nothing_yet": f"Nothing was paid out{'' if by_wire else ' by wire'} yet.",
        "may_ask": Scope.FINANCE in caller.scopes,
        "is_owner": _is_owner(caller),
        "is_weekly": settings.PAYOUT_WEEKDAY >= 0,
    }
    return render(request, "storefront/sell/payouts.html", context, status=form_status(form))


@require_POST
@firm_page
def payout_cancel(request: HttpRequest, caller: Caller, payout_id: str) -> HttpResponse:
    """Keep it here after all."""
    require(caller, Scope.FINANCE)
    try:
        cancel_payout(firm=caller.firm, payout_id=payout_id, actor=caller.actor, now=clock.now())
        messages.success(request, "The payout is cancelled: the money is among your earnings again.")
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect(PAGE)


@require_http_methods(["GET", "POST"])
@firm_page
def bank_details_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Name another account; only an owner does."""
    now = clock.now()
    form = DetailsForm(request.POST or None)
    if form.is_valid() and _change(request, caller, form):
        return redirect(PAGE)
    context = {
        "form": form,
        "details": details_in_force(caller.firm, now),
        "held": details_held(caller.firm, now),
        "hold_hours": settings.BANK_DETAILS_HOLD_HOURS,
        "is_owner": _is_owner(caller),
    }
    return render(request, "storefront/sell/bank_details.html", context, status=form_status(form))


@require_POST
@firm_page
def bank_details_withdraw(request: HttpRequest, caller: Caller, details_id: str) -> HttpResponse:
    """Take a held change back."""
    withdraw_bank_details(firm=caller.firm, person=caller.user, details_id=details_id, now=clock.now())
    messages.success(request, "The change is taken back.")
    return redirect(PAGE)


def _ask(request: HttpRequest, caller: Caller, form: PayoutForm) -> bool:
    require(caller, Scope.FINANCE)
    try:
        request_payout(
            firm=caller.firm,
            currency=form.cleaned_data["currency"],
            amount_micros=form.cleaned_data["amount"],
            idempotency_key=f"page-{request.POST.get('key', '')}",
            actor=caller.actor,
            now=clock.now(),
        )
    except DomainError as error:
        blame(form, error)
        return False
    messages.success(request, "Asked for: an operator sends it to your bank.")
    return True


def _change(request: HttpRequest, caller: Caller, form: DetailsForm) -> bool:
    try:
        address = client_address(request)
        change_bank_details(firm=caller.firm, person=caller.user, address=address, now=clock.now(), **form.cleaned_data)
    except DomainError as error:
        blame(form, error)
        return False
    messages.success(request, "Named. It is held for now, and your people see it here and among the events.")
    return True


def _is_owner(caller: Caller) -> bool:
    return Membership.objects.filter(firm=caller.firm, user=caller.user, role=Role.OWNER).exists()
