"""The seller's fleet, live."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.storefront.fleet import fleet_of, totals_of
from marketplace.storefront.http import firm_page
from nodes.selectors import node_of_firm
from nodes.services.proving import prove_again


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


@require_POST
@firm_page
def node_prove(request: HttpRequest, caller: Caller, node_id: str) -> HttpResponse:
    """Its owner has put it right: our own lease need not wait."""
    require(caller, Scope.FLEET)
    prove_again(node=node_of_firm(caller.firm, node_id), actor=caller.actor, now=clock.now())
    return redirect("storefront:fleet")
