"""The operator's payments: calls and notices that are stuck, each with a retry that can't do anything twice."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import NotFound
from marketplace.payments.inbox import stuck_notices, try_notice_again
from marketplace.payments.outbox import stuck_calls, try_call_again
from marketplace.storefront.http import operator_page
from marketplace.storefront.views.operator import ROWS_MAX, done

PAGE = "storefront:operator-payments"


@require_safe
@operator_page
def operator_payments(request: HttpRequest) -> HttpResponse:
    """What is stuck on its way to a gateway or from one."""
    now = clock.now()
    context = {"calls": stuck_calls(now)[:ROWS_MAX], "notices": stuck_notices(now)[:ROWS_MAX]}
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
def notice_again(request: HttpRequest, notice_id: str) -> HttpResponse:
    """Fetch the thing once more."""

    def act(operator: User) -> str:
        try_notice_again(operator=operator, notice_id=notice_id, now=clock.now())
        return "It is being fetched again."

    return done(request, act, to=PAGE)
