"""What a firm has rented, and what others rent of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.leases.models import Lease
from marketplace.leases.selectors import Access, access_of, buyers_log, lease_of, leases_of
from marketplace.leases.services.ending import end_by_buyer
from marketplace.leases.states import LIVE, EndReason, LeaseState
from marketplace.storefront.http import firm_page, newest_first
from marketplace.storefront.telemetry import lease_charts

# What the node says of a starting lease → how far the bar is, in percent, before the pull's own progress is added.
PHASES = (
    ("Reserved", ("none",)),
    ("Pulling the image", ("pulling",)),
    ("Starting", ("starting", "running")),
    ("Ready", ()),
)
SIDES = ("buyer", "seller")


@dataclass(frozen=True, slots=True)
class Phase:
    """One step on the way to a running container; `mark` is a CSS class."""

    name: str
    mark: str


@require_safe
@firm_page
def leases_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Rented by the firm, or from it."""
    side = request.GET.get("side", "buyer")
    side = side if side in SIDES else "buyer"
    page = newest_first(leases_of(caller.firm).filter(**{side: caller.firm}), request)
    return render(request, "storefront/buy/leases.html", {"page": page, "side": side})


@require_safe
@firm_page
def lease_page(request: HttpRequest, caller: Caller, lease_id: str) -> HttpResponse:
    """One lease: how far it is, the way in, what it costs. The page asks for itself every few seconds."""
    lease = lease_of(caller.firm, lease_id)
    access = access_of(lease)
    is_buyer = lease.buyer_id == caller.firm.pk
    context = {
        "lease": lease,
        "is_buyer": is_buyer,
        "is_live": lease.state in LIVE,
        "has_run": lease.active_at is not None,
        "phases": _phases(lease, access),
        "progress": _progress_percent(lease, access, clock.now()),
        "reason": dict(EndReason.choices).get(lease.end_reason, lease.end_reason),
        "burn_micros": lease.price_micros_per_gpu_hour * lease.card_count,
        "gpu_seconds": lease.gpu_ms // 1000,
        "fee_micros": lease.settled_micros - lease.seller_micros,
        "may_end": is_buyer and Scope.TRADE in caller.scopes and lease.state in LIVE - {LeaseState.ENDING},
        "earliest_end_at": _earliest_end(lease),
        "access": _way_in(lease, access) if is_buyer else None,
        "log": buyers_log(lease, caller.firm) if is_buyer else None,
    }
    response = render(request, "storefront/buy/lease.html", context)
    if request.headers.get("HX-Request") and request.GET.get("seen") != lease.state:
        response.headers["HX-Refresh"] = "true"
    return response


@require_safe
@firm_page
def lease_telemetry_json(request: HttpRequest, caller: Caller, lease_id: str) -> HttpResponse:
    """The charts' numbers."""
    response = JsonResponse(lease_charts(lease_of(caller.firm, lease_id), now=clock.now()))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@firm_page
def lease_end(request: HttpRequest, caller: Caller, lease_id: str) -> HttpResponse:
    """The buyer needs it no longer."""
    lease_of(caller.firm, lease_id)
    require(caller, Scope.TRADE)
    try:
        end_by_buyer(firm=caller.firm, public_id=lease_id, actor=caller.actor, now=clock.now())
        messages.success(request, "The lease is ending. What is left of your money returns to the wallet.")
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("storefront:lease", lease_id)


def _phases(lease: Lease, access: Access | None) -> list[Phase]:
    place = _place(lease, access)
    marks = ["done" if number < place else "now" if number == place else "" for number in range(len(PHASES))]
    if lease.state == LeaseState.FAILED:
        marks = ["failed" if mark == "now" else mark for mark in marks]
    return [Phase(name, mark) for (name, _), mark in zip(PHASES, marks, strict=True)]


def _place(lease: Lease, access: Access | None) -> int:
    if lease.active_at is not None:
        return len(PHASES)
    seen = access.progress["phase"] if access else "none"
    return next((number for number, (_, phases) in enumerate(PHASES) if seen in phases), 0)


def _progress_percent(lease: Lease, access: Access | None, now: datetime) -> int:
    """Until it runs: how much of the start is done; then: how much of the time is over."""
    if lease.active_at and lease.ends_at:
        return min(100, int(100 * ((lease.ended_at or now) - lease.active_at) / (lease.ends_at - lease.active_at)))
    percent = (access.progress["percent"] or 0) if access else 0
    return min(100, 100 * _place(lease, access) // len(PHASES) + percent // len(PHASES))


def _earliest_end(lease: Lease) -> datetime | None:
    return lease.active_at + timedelta(seconds=lease.duration_seconds_min) if lease.active_at else None


def _way_in(lease: Lease, access: Access | None) -> dict[str, Any] | None:
    if access is None or access.ssh is None:
        return None
    ssh = access.ssh
    target = f"{ssh['user'] or 'root'}@{ssh['host']}"
    known_host = f"[{ssh['host']}]:{ssh['port']} {ssh['host_key']}"
    return {
        "ssh": f"ssh -p {ssh['port']} {shlex.quote(target)}",
        "copy": f"scp -P {ssh['port']} ./file {shlex.quote(target)}:",
        "known_host": f"echo {shlex.quote(known_host)} >> ~/.ssh/known_hosts",
        "host_key": ssh["host_key"],
        "ports": [(inside, f"{ssh['host']}:{outside}") for inside, outside in ssh["ports"].items()],
    }
