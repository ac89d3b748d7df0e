"""What waits for an operator: money that was announced, cards that two nodes report, nodes that are not believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import DomainError, NotFound
from marketplace.compliance.selectors import waiting_decisions
from marketplace.payments.inbox import stuck_notices
from marketplace.payments.outbox import stuck_calls
from marketplace.payments.payouts.selectors import open_payouts
from marketplace.payments.payouts.states import PayoutState
from marketplace.payments.reconciliation.selectors import standings
from marketplace.payments.selectors import deposits_by_reference, disputes_in_force, waiting_deposits
from marketplace.payments.services import confirm_deposit
from marketplace.payments.states import DepositState, PaymentDisputeState
from marketplace.payments.wire.selectors import asked_bookings, differences, waiting_lines
from marketplace.sales.selectors import open_disputes
from marketplace.storefront.http import operator_page, sentence
from marketplace.storefront.proving import reason_of
from nodes.models import ConflictEvidence, IdentityChange, IdentityConflict, Node
from nodes.selectors import (
    answered_at_once,
    evidence_of,
    nodes_that_fail_their_proof,
    open_conflicts,
    open_identity_changes,
    quarantined_nodes,
)
from nodes.services.conflicts import release_quarantine, resolve_identity_conflict
from nodes.services.identity import accept_identity_change

ROWS_MAX = 200


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """A conflict and what both nodes measured; `at_once` when they did so at the same time."""

    conflict: IdentityConflict
    evidence: list[ConflictEvidence]
    at_once: bool


@require_safe
@operator_page
def operator_home(request: HttpRequest) -> HttpResponse:
    """Deposits to confirm, sales to rule on, nodes in quarantine, cards that two nodes claim to have."""
    reference = request.GET.get("reference", "")[:40].replace("\0", "")
    context = {
        "reference": reference,
        "named": deposits_by_reference(reference) if reference else None,
        "deposits": waiting_deposits()[:ROWS_MAX],
        "nodes": quarantined_nodes()[:ROWS_MAX],
        "unproven": [(node, reason_of(node.proof)) for node in nodes_that_fail_their_proof()[:ROWS_MAX]],
        "disputes": open_disputes()[:ROWS_MAX],
        "conflicts": [_with_evidence(each) for each in open_conflicts(clock.now())[:ROWS_MAX]],
        "changes": open_identity_changes()[:ROWS_MAX],
        "held_count": len(waiting_decisions()[:ROWS_MAX]),
        "disputed_count": disputes_in_force().filter(state=PaymentDisputeState.OPEN).count(),
        "stuck_count": stuck_calls(clock.now()).count() + stuck_notices(clock.now()).count(),
        "bank_count": len(waiting_lines()[:ROWS_MAX]) + len(asked_bookings()[:ROWS_MAX]),
        "payout_count": len([each for each in open_payouts()[:ROWS_MAX] if each.state == PayoutState.CREATED]),
        "bank_differs": any(not each.is_clean for each in differences()),
        "gateways_differ": [each for each in standings(clock.now()) if each.is_red],
    }
    return render(request, "storefront/operator/home.html", context)


@require_POST
@operator_page
def deposit_confirm(request: HttpRequest, deposit_id: str) -> HttpResponse:
    """The money has come."""

    def act(operator: User) -> str:
        deposit = confirm_deposit(operator=operator, deposit_id=deposit_id, now=clock.now())
        if deposit.state != DepositState.CONFIRMED:
            return f"{deposit.reference}: another operator must confirm this much too."
        return f"{deposit.reference} is confirmed: the money is in the firm's wallet."

    return done(request, act)


@require_POST
@operator_page
def conflict_rule(request: HttpRequest, conflict_id: str) -> HttpResponse:
    """Which of two nodes really has a card."""
    conflict = IdentityConflict.objects.select_related("newcomer").filter(public_id=conflict_id).first()
    if conflict is None:
        raise NotFound
    ruling = request.POST.get("ruling", "")

    def act(operator: User) -> str:
        resolve_identity_conflict(conflict=conflict, ruling=ruling, operator=operator, now=clock.now())
        return f"Ruled. {conflict.newcomer.name} stays in quarantine until you release it."

    return done(request, act)


@require_POST
@operator_page
def node_release(request: HttpRequest, node_id: str) -> HttpResponse:
    """A node in quarantine may come back."""
    node = Node.objects.filter(public_id=node_id).first()
    if node is None:
        raise NotFound

    def act(operator: User) -> str:
        release_quarantine(node=node, operator=operator, now=clock.now())
        return f"{node.name} is released: it is online with its next report."

    return done(request, act)


@require_POST
@operator_page
def identity_accept(request: HttpRequest, change_id: str) -> HttpResponse:
    """A card that said it is another one may be traded again, as what it says now."""
    change = IdentityChange.objects.filter(public_id=change_id).first()
    if change is None:
        raise NotFound

    def act(operator: User) -> str:
        accept_identity_change(change=change, operator=operator, now=clock.now())
        return "Accepted: the card is traded again as what it says it is now."

    return done(request, act)


def _with_evidence(conflict: IdentityConflict) -> ConflictRow:
    evidence = evidence_of(conflict)
    return ConflictRow(conflict, evidence, answered_at_once(evidence))


def done(request: HttpRequest, act: Callable[[User], str], *, to: str = "storefront:operator") -> HttpResponse:
    """Back to an operator's page with what was done, or why it was not."""
    assert isinstance(request.user, User)
    try:
        messages.success(request, act(request.user))
    except DomainError as error:
        messages.error(request, sentence(error.detail))
    return redirect(to)
