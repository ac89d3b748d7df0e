"""The operator's payments: calls and notices that are stuck, each with a retry that can't do anything twice."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import Firm, User
from marketplace.common import clock
from marketplace.common.errors import DomainError, NotFound
from marketplace.common.ids import random_text
from marketplace.payments.disputes import is_on_its_way, submit_evidence
from marketplace.payments.evidence import evidence_of
from marketplace.payments.fraud.alerts import linked_trades
from marketplace.payments.inbox import stuck_notices, try_notice_again
from marketplace.payments.outbox import stuck_calls, try_call_again
from marketplace.payments.reconciliation.selectors import standings
from marketplace.payments.refunds import refund_from_seller
from marketplace.payments.selectors import disputes_in_force, refunds_owed
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.http import operator_page
from marketplace.storefront.views.operator import ROWS_MAX, done

PAGE = "storefront:operator-payments"


@require_safe
@operator_page
def operator_payments(request: HttpRequest) -> HttpResponse:
    """What is stuck on its way to a gateway or from one."""
    now = clock.now()
    context = {
        "calls": stuck_calls(now)[:ROWS_MAX],
        "notices": stuck_notices(now)[:ROWS_MAX],
        "disputes": [
            (each, evidence_of(each, ""), is_on_its_way(each))
            for each in disputes_in_force().prefetch_related("shares__seller")[:ROWS_MAX]
        ],
        "owed": refunds_owed()[:ROWS_MAX],
        "trades": linked_trades()[:ROWS_MAX],
        "form": SellerRefundForm(),
        "key": random_text(24),
        "standings": standings(now),
    }
    return render(request, "storefront/operator/payments.html", context)


@require_POST
@operator_page
def call_act(request: HttpRequest, call_id: str, action: str) -> HttpResponse:
    """Look whether a call was done, and make it, or give it up, where it was not."""
    if action not in {"again", "give-up"}:
        raise NotFound

    def act(operator: User) -> str:
        give_up = action == "give-up"
        try_call_again(operator=operator, call_id=call_id, now=clock.now(), give_up=give_up)
        return f"It is being looked up{', and given up where it was not done' if give_up else ''}."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def evidence_send(request: HttpRequest, dispute_id: str) -> HttpResponse:
    """Our records and the operator's words to the payer's bank."""

    def act(operator: User) -> str:
        words, key = request.POST.get("words", "")[:10_000], f"page-{request.POST.get('key', '')}"
        submit_evidence(operator=operator, dispute_id=dispute_id, words=words, key=key, now=clock.now())
        return "The evidence is on its way to the bank."

    return done(request, act, to=PAGE)


class SellerRefundForm(PageForm):
    """Which deposit, out of whose money, and how much."""

    deposit = forms.CharField(label="Deposit", max_length=32, help_text="dep_…")
    seller = forms.CharField(label="Paid by the seller", max_length=32, help_text="firm_…")
    amount = AmountField(label="Amount")


@require_POST
@operator_page
def seller_refund(request: HttpRequest) -> HttpResponse:
    """A payer's money back out of what a seller got for it."""
    form = SellerRefundForm(request.POST)

    def act(operator: User) -> str:
        seller = Firm.objects.filter(public_id=request.POST.get("seller", "")).first()
        if not form.is_valid() or seller is None:
            raise DomainError("give a deposit, the firm that pays, and an amount such as 12.50")
        refund_from_seller(
            operator=operator,
            deposit_id=form.cleaned_data["deposit"],
            seller=seller,
            amount_micros=form.cleaned_data["amount"],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
        )
        return "What the seller's account has of it is taken back first; then it goes to the payer's card."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def notice_again(request: HttpRequest, notice_id: str) -> HttpResponse:
    """Fetch the thing once more."""

    def act(operator: User) -> str:
        try_notice_again(operator=operator, notice_id=notice_id, now=clock.now())
        return "It is being fetched again."

    return done(request, act, to=PAGE)
