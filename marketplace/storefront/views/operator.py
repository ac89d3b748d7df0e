"""What waits for an operator: money that was announced, and nodes that are not believed."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.payments.selectors import waiting_deposits
from marketplace.payments.services import confirm_deposit
from marketplace.storefront.http import operator_page
from nodes.models import IdentityConflict, Node
from nodes.states import NodeState

ROWS_MAX = 200


@require_safe
@operator_page
def operator_home(request: HttpRequest) -> HttpResponse:
    """Deposits to confirm, nodes in quarantine, cards that two nodes claim to have."""
    quarantined = Node.objects.filter(state=NodeState.QUARANTINED).select_related("firm").order_by("-pk")
    conflicts = IdentityConflict.objects.filter(resolved_at=None).order_by("pk")
    context = {
        "deposits": waiting_deposits()[:ROWS_MAX],
        "nodes": quarantined[:ROWS_MAX],
        "conflicts": conflicts.select_related("card__node", "card__firm", "newcomer__firm")[:ROWS_MAX],
    }
    return render(request, "storefront/operator/home.html", context)


@require_POST
@operator_page
def deposit_confirm(request: HttpRequest, deposit_id: str) -> HttpResponse:
    """The money has come."""
    assert isinstance(request.user, User)
    try:
        deposit = confirm_deposit(operator=request.user, deposit_id=deposit_id, now=clock.now())
        messages.success(request, f"{deposit.reference} is confirmed: the money is in the firm's wallet.")
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("storefront:operator")
