"""Balances, statements and money on its way in."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.ledger.models import FIRM_KINDS, AccountKind
from marketplace.ledger.selectors import WalletBalances, balances_after, statement, wallet_balances
from marketplace.payments.models import Deposit
from marketplace.payments.refunds import refund_deposit, returnable_micros
from marketplace.payments.selectors import (
    STRIPE,
    deposit_of,
    deposits_of,
    disputes_in_force,
    gateways,
    instructions_for,
    refunds_owed,
)
from marketplace.payments.services import cancel_deposit, look_at_payment, start_deposit
from marketplace.payments.states import DepositState, PaymentDisputeState
from marketplace.sales.selectors import purchases_of
from marketplace.sales.states import PurchaseState
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.forms.buying import currency_choices
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, newest_first, sentence

CENT_MICROS = 10_000
DEPOSITS_SHOWN = 10


class DepositForm(PageForm):
    """How much, in which currency."""

    amount = AmountField(label="Amount", tick_micros=CENT_MICROS)
    currency = forms.ChoiceField(label="Currency", choices=currency_choices)


class RefundForm(PageForm):
    """How much goes back."""

    amount = AmountField(label="Amount")


@require_http_methods(["GET", "POST"])
@firm_page
def wallet_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """What there is, what is held for orders, what was earned, and the newest deposits."""
    form = DepositForm(request.POST or None)
    if form.is_valid() and (deposit_id := _start(request, caller, form)):
        return redirect("storefront:deposit", deposit_id)
    context = {
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "balances": wallet_balances(caller.firm) or [WalletBalances(settings.CURRENCIES[0], 0, 0, 0)],
        "deposits": deposits_of(caller.firm).order_by("-pk")[:DEPOSITS_SHOWN],
        "may_pay": Scope.FINANCE in caller.scopes,
        "disputes": disputes_in_force().filter(deposit__firm=caller.firm),
        "refunds_owed": refunds_owed().filter(deposit__firm=caller.firm),
        "has_cards": STRIPE.name in gateways(),
        "card_currencies": [each for each in settings.CURRENCIES if each in STRIPE.capabilities().currencies],
    }
    return render(request, "storefront/money/wallet.html", context, status=FORM_REFUSED if form.errors else 200)


@require_safe
@firm_page
def deposit_page(request: HttpRequest, caller: Caller, deposit_id: str) -> HttpResponse:
    """How to pay, and whether the money has come."""
    deposit = deposit_of(caller.firm, deposit_id)
    if "back" in request.GET:
        look_at_payment(deposit, clock.now())
    purchase = purchases_of(caller.firm).filter(deposit=deposit).first()
    seen = f"{deposit.state}{'-open' if deposit.pay_url else ''}{purchase.state if purchase else ''}"
    context = {
        "deposit": deposit,
        "seen": seen,
        "came_back": "back" in request.GET,
        "disputes": deposit.disputes.order_by("pk"),
        "refunds": deposit.refunds.order_by("pk"),
        "left_micros": returnable_micros(deposit, clock.now()) if _goes_back(deposit) else 0,
        "key": random_text(24),
        "instructions": instructions_for(deposit),
        "is_waiting": deposit.state == DepositState.CREATED,
        "purchase": purchase,
        "is_buying": purchase is not None and purchase.state == PurchaseState.WAITING,
        "may_pay": Scope.FINANCE in caller.scopes,
    }
    response = render(request, "storefront/money/deposit.html", context)
    if request.headers.get("HX-Request") and request.GET.get("seen") != seen:
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@firm_page
def deposit_cancel(request: HttpRequest, caller: Caller, deposit_id: str) -> HttpResponse:
    """The money will not come."""
    require(caller, Scope.FINANCE)
    try:
        cancel_deposit(firm=caller.firm, deposit_id=deposit_id, now=clock.now(), actor=caller.actor)
        messages.success(request, "The deposit is cancelled.")
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:wallet")


@require_POST
@firm_page
def deposit_refund(request: HttpRequest, caller: Caller, deposit_id: str) -> HttpResponse:
    """A part of it goes back to the card."""
    deposit = deposit_of(caller.firm, deposit_id)
    require(caller, Scope.FINANCE)
    form = RefundForm(request.POST)
    try:
        if not form.is_valid():
            raise DomainError("give an amount such as 12.50")
        refund_deposit(
            firm=caller.firm,
            deposit_id=deposit_id,
            amount_micros=form.cleaned_data["amount"],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
            actor=caller.actor,
        )
        messages.success(request, "It is on its way back to your card.")
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect("storefront:deposit", deposit.public_id)


@require_safe
@firm_page
def statement_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Every movement of the firm's money, with the balance after it."""
    kinds = {str(kind): kind for kind in AccountKind if kind in FIRM_KINDS}
    kind = kinds.get(request.GET.get("account", "wallet"), AccountKind.WALLET)
    currency = request.GET.get("currency", settings.CURRENCIES[0])
    page = newest_first(statement(firm=caller.firm, kind=kind, currency=currency), request)
    after = balances_after(page.rows)
    rows: list[dict[str, Any]] = [{"entry": entry, "after": after[entry.pk]} for entry in page.rows]
    context = {
        "page": page,
        "rows": rows,
        "account": str(kind),
        "currency": currency,
        "currencies": settings.CURRENCIES,
        "accounts": [(each.value, each.label) for each in kinds.values()],
    }
    return render(request, "storefront/money/statement.html", context)


def _goes_back(deposit: Deposit) -> bool:
    """Whether some of it can be sent back to its card, as far as the page can tell."""
    is_disputed = deposit.disputes.exclude(state=PaymentDisputeState.WON).exists()
    return bool(deposit.payment_id) and not is_disputed


def _start(request: HttpRequest, caller: Caller, form: DepositForm) -> str:
    require(caller, Scope.FINANCE)
    try:
        deposit, _ = start_deposit(
            firm=caller.firm,
            currency=form.cleaned_data["currency"],
            amount_micros=form.cleaned_data["amount"],
            gateway=request.POST.get("gateway", "wire"),
            idempotency_key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
            actor=caller.actor,
        )
    except DomainError as error:
        blame(form, error)
        return ""
    return str(deposit.public_id)
