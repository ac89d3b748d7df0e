"""The operator's payouts: approve, order at the bank, say what did not happen."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import Invalid
from marketplace.common.ids import random_text
from marketplace.payments.payouts.selectors import approvals_missing, files, lines_to_return, open_payouts
from marketplace.payments.payouts.services.sending import (
    approve_payout,
    fail_payout,
    file_bytes,
    order_payouts,
    reject_payout,
)
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.wire.states import BookingState
from marketplace.storefront.http import newest_first, operator_page
from marketplace.storefront.views.books import download
from marketplace.storefront.views.operator import done

PAGE = "storefront:operator-payouts"
ROWS_MAX = 200


@require_safe
@operator_page
def payouts_page(request: HttpRequest) -> HttpResponse:
    """What waits for approval, what can be ordered, what is at the bank, and the files."""
    found = list(open_payouts()[:ROWS_MAX])
    created = [(each, approvals_missing(each)) for each in found if each.state == PayoutState.CREATED]
    ready: dict[str, list[int]] = {}
    for payout, missing in created:
        if not missing:
            ready.setdefault(payout.currency, []).append(payout.amount_micros)
    for currency in settings.CURRENCIES:
        if returns := list(lines_to_return(currency).values_list("amount_micros", flat=True)):
            ready.setdefault(currency, []).extend(returns)
    context = {
        "created": [
            (each, missing, request.user.pk in {row.operator_id for row in each.approvals.all()})
            for each, missing in created
        ],
        "sent": [each for each in found if each.state == PayoutState.SENT],
        "ready": [(currency, len(amounts), sum(amounts)) for currency, amounts in sorted(ready.items())],
        "key": random_text(24),
        "page": newest_first(files(), request),
    }
    return render(request, "storefront/operator/payouts.html", context)


@require_POST
@operator_page
def payout_rule(request: HttpRequest, payout_id: str) -> HttpResponse:
    """Approve, reject, or say that the bank did not make it."""

    def act(operator: User) -> str:
        reason = request.POST.get("reason", "").replace("\0", "")[:500]
        match request.POST.get("ruling"):
            case "approve":
                payout = approve_payout(operator=operator, payout_id=payout_id, now=clock.now())
                return "Approved; another operator must too." if approvals_missing(payout) else "Approved."
            case "reject":
                reject_payout(operator=operator, payout_id=payout_id, reason=reason, now=clock.now())
                return "Rejected: the money is among the firm's earnings again."
            case "failed":
                key = f"page-{request.POST.get('key', '')}"
                booking = fail_payout(
                    operator=operator, payout_id=payout_id, reason=reason, key=key, now=clock.now()
                )  # fmt: skip
                is_done = booking.state == BookingState.DONE
                return "The money is among the firm's earnings again." if is_done else "Asked: another must agree."
        raise Invalid("there is no such ruling")

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def payouts_order(request: HttpRequest) -> HttpResponse:
    """Make a file for the bank."""

    def act(operator: User) -> str:
        file = order_payouts(
            operator=operator,
            currency=request.POST.get("currency", "")[:3],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
        )
        return f"{file.public_id} is made: take it to the bank."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def payout_file(request: HttpRequest, file_id: str) -> HttpResponse:
    """The file itself; a POST, because taking it is written down."""
    assert isinstance(request.user, User)
    content = file_bytes(operator=request.user, file_id=file_id, now=clock.now())
    return download(content, "application/xml", f"{file_id}.xml")
