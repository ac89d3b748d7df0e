"""What the export rules hold, for an operator to decide: cases, names that are similar to listed ones, SKUs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from marketplace.accounts.models import Firm, User
from marketplace.catalogue.models import GpuModel
from marketplace.common import clock
from marketplace.compliance.items import ItemClass
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.selectors import any_decision, clearances, current_list, waiting_decisions
from marketplace.compliance.serializers import similar_names
from marketplace.compliance.services.ruling import SkuFinding, clear_sku, rule_on_hold
from marketplace.compliance.services.screening import age_days, review_match
from marketplace.storefront.forms.base import PageForm
from marketplace.storefront.http import operator_page
from marketplace.storefront.views.operator import done

ROWS_MAX = 100
PAGE = "storefront:export-rules"


class ClearanceForm(PageForm):
    """The class that a person found for a card as it is sold."""

    gpu_model = forms.ModelChoiceField(GpuModel.objects.order_by("marketing_name"), label="GPU")
    memory_gib = forms.IntegerField(label="Memory (GiB)", min_value=1, max_value=4096)
    is_modified = forms.BooleanField(label="Its memory was changed after it left the factory", required=False)
    item_class = forms.ChoiceField(label="Class", choices=[(each.value, each.value.upper()) for each in ItemClass])
    reference = forms.CharField(label="Where the opinion or the maker's answer is", max_length=200)
    reason = forms.CharField(label="Why", max_length=1000)
    days = forms.IntegerField(label="Good for (days)", min_value=1, max_value=730, initial=180)


@dataclass(frozen=True, slots=True)
class Held:
    """A case that waits, and the listed names that its parties are similar to."""

    decision: ComplianceDecision
    matches: list[dict[str, Any]]


@require_safe
@operator_page
def export_rules(request: HttpRequest) -> HttpResponse:
    """Everything that is held, how old the screening list is, what was cleared."""
    return _shown(request, ClearanceForm(auto_id="clear_%s"))


@require_POST
@operator_page
def hold_rule(request: HttpRequest, decision_id: str) -> HttpResponse:
    """Let a case pass or refuse it."""
    decision = any_decision(decision_id)
    codes = [code for code in decision.required_documents if request.POST.get(f"document-{code}", "").strip()]

    def act(operator: User) -> str:
        rule_on_hold(
            decision=decision,
            outcome=request.POST.get("outcome", ""),
            reason=request.POST.get("reason", ""),
            documents={code: request.POST[f"document-{code}"] for code in codes},
            operator=operator,
            now=clock.now(),
        )
        return "Ruled. What waits for it goes on, or ends, in a moment."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def match_rule(request: HttpRequest, firm_id: str) -> HttpResponse:
    """Whether a firm is the party on the list that it is similar to."""
    firm = get_object_or_404(Firm, public_id=firm_id)

    def act(operator: User) -> str:
        review_match(
            firm=firm,
            entry=request.POST.get("entry", ""),
            is_same=request.POST.get("same") == "yes",
            reason=request.POST.get("reason", ""),
            operator=operator,
            now=clock.now(),
        )
        return f"Remembered for {firm.name} until its name or the entry changes."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def sku_clear(request: HttpRequest) -> HttpResponse:
    """Record the class of a SKU for some days."""
    form = ClearanceForm(request.POST, auto_id="clear_%s")

    def act(operator: User) -> str:
        today = clock.now().astimezone(UTC).date()
        values = dict(form.cleaned_data)
        until = today + timedelta(days=values.pop("days"))
        clear_sku(finding=SkuFinding(**values, valid_from=today, valid_until=until), operator=operator, now=clock.now())
        return f"{values['gpu_model']} with {values['memory_gib']} GiB is {values['item_class'].upper()} for now."

    if form.is_valid():
        return done(request, act, to=PAGE)
    return _shown(request, form, status=400)


def _shown(request: HttpRequest, form: ClearanceForm, status: int = 200) -> HttpResponse:
    now, newest = clock.now(), current_list()
    context = {
        "held": [Held(each, similar_names(each)) for each in waiting_decisions()[:ROWS_MAX]],
        "list": newest,
        "list_age_days": age_days(newest, now) if newest else None,
        "clearances": clearances()[:ROWS_MAX],
        "form": form,
    }
    return render(request, "storefront/operator/export_rules.html", context, status=status)
