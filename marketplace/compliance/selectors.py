"""Reads of decisions, rulings and clearances."""

from __future__ import annotations

from datetime import date

from django.db.models import Exists, OuterRef, Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import NotFound
from marketplace.compliance.inquiry import Stage
from marketplace.compliance.items import Item, ItemClass
from marketplace.compliance.models import (
    ComplianceDecision,
    DocumentOnFile,
    HoldRuling,
    MatchReview,
    RuleAdoption,
    RuleTable,
    ScreeningList,
    SkuClearance,
)
from marketplace.compliance.rules import Outcome


def decision_of(firm: Firm, public_id: str) -> ComplianceDecision:
    """A decision about this firm as the buyer; NotFound for any other."""
    return _one(ComplianceDecision.objects.filter(firm=firm), public_id)


def decisions_of(firm: Firm) -> QuerySet[ComplianceDecision]:
    """Every decision about this firm as the buyer."""
    return ComplianceDecision.objects.filter(firm=firm).select_related("table")


def decisions_for_operators(
    *, is_waiting: bool = False, firm: str = "", subject: str = "", outcome: str = ""
) -> QuerySet[ComplianceDecision]:
    """Every decision, or those that wait for a ruling; "" means any."""
    rows = waiting_decisions() if is_waiting else ComplianceDecision.objects.select_related("firm", "seller", "table")
    wanted = {"firm__public_id": firm, "subject": subject, "outcome": outcome}
    return rows.filter(**{name: value for name, value in wanted.items() if value})


def any_firm(public_id: str) -> Firm:
    """A firm, for an operator."""
    found = Firm.objects.filter(public_id=public_id).first()
    if found is None:
        raise NotFound
    return found


def any_decision(public_id: str) -> ComplianceDecision:
    """A decision, for an operator."""
    return _one(ComplianceDecision.objects.all(), public_id)


def waiting_decisions() -> QuerySet[ComplianceDecision]:
    """Holds on which nobody has ruled and that are the last word on their subject and stage, newest first.

    What is over waits no longer.
    """
    same = Q(stage=Stage.LEASE.value) | Q(subject=OuterRef("subject"))
    later = ComplianceDecision.objects.filter(
        same, firm=OuterRef("firm"), stage=OuterRef("stage"), pk__gt=OuterRef("pk")
    )
    return (
        ComplianceDecision.objects.filter(outcome=Outcome.HOLD.value)
        .filter(~Exists(later), ~Exists(HoldRuling.objects.filter(decision=OuterRef("pk"))), ended=None)
        .select_related("firm", "seller", "table")
        .order_by("-pk")
    )


def ruling_on(*, firm_id: int, stage: str, subject: str, case_hash: str) -> HoldRuling | None:
    """The last ruling on the same case."""
    rulings = HoldRuling.objects.filter(
        decision__firm_id=firm_id, decision__stage=stage, decision__subject=subject, decision__case_hash=case_hash
    )
    return rulings.select_related("decision__table").order_by("-pk").first()


def subject_of(decision: ComplianceDecision) -> str:
    """What the decision is about; the first decisions about leases did not name their buyer twice."""
    return decision.subject or decision.firm.public_id


def documents_of(subject: str, on: date) -> QuerySet[DocumentOnFile]:
    """The papers of a subject that are valid on a day."""
    valid = Q(valid_until=None) | Q(valid_until__gte=on)
    return DocumentOnFile.objects.filter(valid, subject=subject).select_related("recorded_by").order_by("pk")


def document_by_id(public_id: str) -> DocumentOnFile:
    """One paper."""
    return DocumentOnFile.objects.select_related("recorded_by").get(public_id=public_id)


def clearance_of(item: Item, on: date, class_digest: str) -> SkuClearance | None:
    """What was last found about the item's SKU, if it holds on this day and under rows with this digest."""
    slug, memory, is_modified = item.sku
    if memory is None:
        return None
    newest = (
        SkuClearance.objects.filter(gpu_model__slug=slug, memory_gib=memory, is_modified=is_modified)
        .order_by("-pk")
        .first()
    )
    return newest if newest and holds(newest, on, class_digest) else None


def holds(clearance: SkuClearance, on: date, class_digest: str) -> bool:
    """Whether a clearance, the newest of its SKU, still says what it said."""
    is_dated = clearance.valid_from <= on <= clearance.valid_until
    return is_dated and clearance.item_class != ItemClass.UNKNOWN and clearance.class_digest == class_digest


def clearance_by_id(public_id: str) -> SkuClearance:
    """One clearance."""
    return clearances().get(public_id=public_id)


def clearances() -> QuerySet[SkuClearance]:
    """Every clearance, newest first; an older one of the same SKU counts no more."""
    newer = SkuClearance.objects.filter(
        gpu_model=OuterRef("gpu_model"),
        memory_gib=OuterRef("memory_gib"),
        is_modified=OuterRef("is_modified"),
        pk__gt=OuterRef("pk"),
    )
    return (
        SkuClearance.objects.annotate(is_replaced=Exists(newer))
        .select_related("gpu_model", "recorded_by")
        .order_by("-pk")
    )


def last_good_table() -> RuleTable | None:
    """The table that decided last."""
    adoption = RuleAdoption.objects.select_related("table").order_by("-pk").first()
    return adoption.table if adoption else RuleTable.objects.order_by("-pk").first()


def table_of_version(version: str) -> RuleTable | None:
    """A table that has decided something."""
    return RuleTable.objects.filter(version=version).first()


def current_list() -> ScreeningList | None:
    """The list that was imported last."""
    return ScreeningList.objects.order_by("-pk").first()


def reviews_of(firm: Firm) -> QuerySet[MatchReview]:
    """What people found about the firm's name and its parent's, oldest first: the last word counts."""
    return MatchReview.objects.filter(firm=firm).select_related("firm", "reviewed_by").order_by("pk")


def _one(rows: QuerySet[ComplianceDecision], public_id: str) -> ComplianceDecision:
    found = rows.filter(public_id=public_id).select_related("firm", "seller", "table").first()
    if found is None:
        raise NotFound
    return found
