"""The operator's comparison of a gateway's books with the ledger: red until every difference is explained."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.common.money import format_micros
from marketplace.payments.models import Difference
from marketplace.payments.reconciliation.selectors import (
    any_difference,
    asked_about,
    closed_differences,
    held_micros,
    open_differences,
    standings,
)
from marketplace.payments.reconciliation.services.explaining import ACTIONS, explain
from marketplace.payments.reconciliation.services.running import ask_run
from marketplace.payments.reconciliation.states import DifferenceState
from marketplace.payments.wire.selectors import needs_two
from marketplace.storefront.forms.base import PageForm
from marketplace.storefront.http import FORM_REFUSED, blame, newest_first, operator_page
from marketplace.storefront.views.operator import done

PAGE = "storefront:reconciliation"
ROWS_MAX = 200


class ExplainForm(PageForm):
    """What a difference is; `action` is where the money on suspense goes."""

    action = forms.ChoiceField(label="Where its money belongs", widget=forms.RadioSelect)
    firm_id = forms.CharField(label="Id of the firm", required=False, max_length=32)
    reason = forms.CharField(label="Why", max_length=500)

    def __init__(self, data: Any, *, moves_money: bool) -> None:
        super().__init__(data)
        field = self.fields["action"]
        assert isinstance(field, forms.ChoiceField)
        words = [(each.value, str(each.label).rpartition(": ")[2]) for each in ACTIONS]
        field.choices = [(value, label[:1].upper() + label[1:]) for value, label in words]
        if not moves_money:
            del self.fields["action"], self.fields["firm_id"]


@require_safe
@operator_page
def reconciliation_page(request: HttpRequest) -> HttpResponse:
    """What each gateway says, when it was last compared, and what differs."""
    now = clock.now()
    context = {
        "standings": [(each, _rows(each.last.totals if each.last else {})) for each in standings(now)],
        "differences": open_differences()[:ROWS_MAX],
        "page": newest_first(closed_differences(), request),
    }
    return render(request, "storefront/operator/reconciliation.html", context)


def _rows(totals: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """A line per currency, with what its ledger lacks."""
    found = []
    for currency, each in sorted(totals.items()):
        there = each["available_micros"] + each["pending_micros"] + each["in_transit_micros"]
        found.append(each | {"currency": currency, "off_micros": there - each["ledger_micros"]})
    return found


@require_POST
@operator_page
def run_ask(request: HttpRequest) -> HttpResponse:
    """Compare now."""

    def act(operator: User) -> str:
        ask_run(operator=operator, gateway=request.POST.get("gateway", ""), now=clock.now())
        return "The books are being compared; this takes a minute or more."

    return done(request, act, to=PAGE)


@require_http_methods(["GET", "POST"])
@operator_page
def difference_page(request: HttpRequest, difference_id: str) -> HttpResponse:
    """One difference: what both sides say, and an operator's explanation."""
    difference = any_difference(difference_id)
    held = held_micros(difference.gateway, [difference.public_id]).get(difference.public_id, 0)
    form = ExplainForm(request.POST or None, moves_money=bool(held))
    if form.is_valid() and _explain(request, difference, form, clock.now()):
        return redirect(PAGE)
    context = {
        "difference": difference,
        "evidence": _evidence(difference),
        "held": held,
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "is_open": difference.state == DifferenceState.OPEN,
        "asked": asked_about(difference),
        "needs_two": needs_two(difference.currency, held),
    }
    status = FORM_REFUSED if form.errors else 200
    return render(request, "storefront/operator/difference.html", context, status=status)


def _evidence(difference: Difference) -> list[tuple[str, str]]:
    """What was seen, as text; of what changed, both."""
    found = dict(difference.evidence)
    changed = {f"changed {name}": _both(name, *values) for name, values in found.pop("changed", {}).items()}
    lists = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in found.items()}
    return sorted((lists | changed).items())


def _both(name: str, before: Any, after: Any) -> str:
    words = [format_micros(each) if name.endswith("_micros") else str(each) for each in (before, after)]
    return " → ".join(words)


def _explain(request: HttpRequest, difference: Difference, form: ExplainForm, now: datetime) -> bool:
    assert isinstance(request.user, User)
    given = {"action": "", "firm_id": ""} | form.cleaned_data
    key = f"page-{request.POST.get('key', '')}"
    try:
        said = explain(operator=request.user, difference_id=difference.public_id, key=key, now=now, **given)
    except DomainError as error:
        blame(form, error)
        return False
    done_ = said.state == DifferenceState.EXPLAINED
    messages.success(request, "Explained." if done_ else "Asked: another operator must agree on the bank page.")
    return True
