"""How a seller is paid: the account at Stripe and what it still lacks, or by wire and why."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.payments.payouts.selectors import all_terms
from marketplace.payments.sellers import (
    account_of,
    look_again,
    onboarding_url,
    open_account,
    way_of_paying,
    why_by_wire,
)
from marketplace.storefront.displays import due_words
from marketplace.storefront.http import firm_page, sentence

PAGE = "storefront:getting-paid"
TRANSFERS_SHOWN = 25


@require_safe
@firm_page
def getting_paid(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The state of the firm's account, or why it is paid by wire."""
    if "back" in request.GET:
        look_again(caller.firm, clock.now())
    account = account_of(caller.firm)
    context = {
        "account": account,
        "due": due_words(account.due) if account else [],
        "transfers": account.transfers.order_by("-pk")[:TRANSFERS_SHOWN] if account else (),
        "by_wire": way_of_paying(caller.firm) == "wire",
        "why_by_wire": why_by_wire(caller.firm),
        "terms": [each for each in all_terms(caller.firm, clock.now()) if each.free.unseasoned_micros],
        "key": random_text(24),
        "may_pay": Scope.FINANCE in caller.scopes,
        "seen": _seen(caller),
    }
    response = render(request, "storefront/money/getting_paid.html", context)
    if request.headers.get("HX-Request") and request.GET.get("seen") != context["seen"]:
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@firm_page
def getting_paid_open(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Have an account opened."""
    require(caller, Scope.FINANCE)
    key = f"page-{request.POST.get('key', '')}"
    try:
        open_account(firm=caller.firm, idempotency_key=key, now=clock.now(), actor=caller.actor)
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect(PAGE)


@require_safe
@firm_page
def getting_paid_continue(request: HttpRequest, caller: Caller) -> HttpResponse:
    """To the hosted form, by a link made for this click; Stripe sends here again when one is used up."""
    require(caller, Scope.FINANCE)
    try:
        return redirect(onboarding_url(caller.firm))
    except DomainError as error:
        messages.error(request, sentence(error.detail))
        return redirect(PAGE)


def _seen(caller: Caller) -> str:
    account = account_of(caller.firm)
    return f"{account.state}-{bool(account.account_id)}-{len(account.due)}" if account else ""
