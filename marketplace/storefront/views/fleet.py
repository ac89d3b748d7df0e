"""The seller's fleet, live."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.accounts.authentication import Caller
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.storefront.fleet import fleet_of, totals_of
from marketplace.storefront.http import firm_page


@require_safe
@firm_page
def fleet_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """What every card does, why it is not idle, and what idle cards are not on offer."""
    nodes = fleet_of(caller.firm)
    context = {
        "nodes": nodes,
        "totals": totals_of(nodes, clock.now()),
        "may_sell": bool(caller.scopes & {Scope.FLEET, Scope.TRADE}),
        "may_enrol": Scope.FLEET in caller.scopes,
    }
    return render(request, "storefront/sell/fleet.html", context)
