"""Shapes of decisions, rulings and clearances in the API."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from django.conf import settings
from rest_framework import serializers

from marketplace.common.api import PageQuery, StrictSerializer, page_shape
from marketplace.compliance.explaining import Record, SeenRow
from marketplace.compliance.inquiry import Deal, ListState, Stage
from marketplace.compliance.items import ItemClass
from marketplace.compliance.models import (
    ComplianceDecision,
    DocumentOnFile,
    HoldRuling,
    MatchReview,
    RuleTable,
    ScreeningList,
    SkuClearance,
)
from marketplace.compliance.rules import Outcome, Rule
from marketplace.compliance.selectors import holds, subject_of
from marketplace.compliance.services.deciding import REFUSALS
from marketplace.compliance.services.ruling import REASON_LENGTH_MAX, REFERENCE_LENGTH_MAX
from marketplace.compliance.services.screening import age_days, state_of
from marketplace.compliance.tablefile import TableInForce, kept_ruleset, table_in_force
from marketplace.compliance.telling import told_rows

OUTCOMES = [each.value for each in Outcome]
ALLOWED = "the rules of this exchange allow it"


class DecisionQuery(PageQuery):
    """Filters of a firm's decisions."""

    outcome = serializers.ChoiceField(choices=OUTCOMES, required=False)
    subject = serializers.CharField(max_length=32, required=False)


class RecordQuery(DecisionQuery):
    """Filters of an operator's list."""

    firm = serializers.CharField(max_length=32, required=False)
    waiting = serializers.BooleanField(default=False, help_text="only holds on which nobody has ruled")


class HoldRulingInput(StrictSerializer):
    """The body of POST /export-rules/decisions/{id}/rule/."""

    outcome = serializers.ChoiceField(choices=[Outcome.ALLOW.value, Outcome.BLOCK.value])
    reason = serializers.CharField(max_length=REASON_LENGTH_MAX)
    documents = serializers.DictField(
        child=serializers.CharField(max_length=REFERENCE_LENGTH_MAX),
        default=dict,
        help_text="where each paper is that the rows ask for, by its code",
    )


class PaperInput(StrictSerializer):
    """The body of POST /export-rules/decisions/{id}/documents/."""

    code = serializers.CharField(max_length=64)
    reference = serializers.CharField(max_length=REFERENCE_LENGTH_MAX)
    valid_until = serializers.DateField(required=False, allow_null=True, default=None)


class NameReviewInput(StrictSerializer):
    """The body of POST /export-rules/firms/{id}/names/."""

    entry = serializers.CharField(max_length=80)
    is_same = serializers.BooleanField()
    reason = serializers.CharField(max_length=REASON_LENGTH_MAX)


class SkuClearanceInput(StrictSerializer):
    """The body of POST /export-rules/clearances/. The class `unknown` takes an earlier clearance back."""

    gpu = serializers.SlugField(max_length=64)
    memory_gib = serializers.IntegerField(min_value=1, max_value=4096)
    is_modified = serializers.BooleanField()
    item_class = serializers.ChoiceField(choices=[each.value for each in ItemClass])
    eccn = serializers.CharField(max_length=16, default="", allow_blank=True)
    reference = serializers.CharField(max_length=REFERENCE_LENGTH_MAX)
    reason = serializers.CharField(max_length=REASON_LENGTH_MAX)
    valid_from = serializers.DateField()
    valid_until = serializers.DateField()


class RequiredPaperShape(serializers.Serializer[Any]):
    """A paper that is asked for."""

    code = serializers.CharField()
    text = serializers.CharField()


class ToldRowShape(serializers.Serializer[Any]):
    """A row that a firm is told about."""

    row = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]


class ComplianceDecisionShape(serializers.Serializer[Any]):
    """A decision as the firm sees it that it is about."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    deal = serializers.ChoiceField(choices=list(Deal))
    stage = serializers.ChoiceField(choices=list(Stage))
    subject = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    detail = serializers.CharField()
    because = ToldRowShape(many=True)
    documents = RequiredPaperShape(many=True)
    ruleset = serializers.CharField()


class DecisionRowShape(serializers.Serializer[Any]):
    """A row that matched, as it stood."""

    row = serializers.CharField()
    has_decided = serializers.BooleanField()
    outcome = serializers.ChoiceField(choices=OUTCOMES, allow_null=True)
    effective_from = serializers.DateField(allow_null=True)
    effective_to = serializers.DateField(allow_null=True)
    is_liftable = serializers.BooleanField(allow_null=True)
    source = serializers.CharField()  # type: ignore[assignment]
    reviewed_by = serializers.CharField()
    note = serializers.CharField()


class RecordedPaperShape(RequiredPaperShape):
    """A paper, and whether it was on file."""

    is_on_file = serializers.BooleanField()


class HoldRulingShape(serializers.Serializer[Any]):
    """What an operator ruled."""

    id = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    reason = serializers.CharField()
    ruled_by = serializers.CharField()
    at = serializers.DateTimeField()


class HeldCaseShape(serializers.Serializer[Any]):
    """A decision in an operator's list; `similar_names` are those that a person must compare."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    deal = serializers.ChoiceField(choices=list(Deal))
    stage = serializers.ChoiceField(choices=list(Stage))
    subject = serializers.CharField()
    buyer = serializers.DictField(child=serializers.CharField())
    seller = serializers.DictField(child=serializers.CharField(), allow_null=True)
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    decided_by = serializers.ListField(child=serializers.CharField())
    required_documents = serializers.ListField(child=serializers.CharField())
    similar_names = serializers.ListField(child=serializers.DictField())


class DecisionRecordShape(HeldCaseShape):
    """A decision's record in full."""

    rows = DecisionRowShape(many=True)
    documents = RecordedPaperShape(many=True)
    rulings = HoldRulingShape(many=True)
    inputs = serializers.DictField()
    input_hash = serializers.CharField()
    case_hash = serializers.CharField()
    ruleset = serializers.CharField()
    is_reproduced = serializers.BooleanField()


class PaperOnFileShape(serializers.Serializer[Any]):
    """A paper that an operator has seen."""

    id = serializers.CharField()
    subject = serializers.CharField()
    code = serializers.CharField()
    reference = serializers.CharField()
    valid_until = serializers.DateField(allow_null=True)
    recorded_by = serializers.CharField()
    at = serializers.DateTimeField()


class NameReviewShape(serializers.Serializer[Any]):
    """What a person found about two names."""

    id = serializers.CharField()
    firm = serializers.CharField()
    name = serializers.CharField()
    entry = serializers.CharField()
    listed_name = serializers.CharField()
    is_same = serializers.BooleanField()
    reason = serializers.CharField()
    reviewed_by = serializers.CharField()
    at = serializers.DateTimeField()


class SkuClearanceShape(serializers.Serializer[Any]):
    """The class that a person found for a SKU. It `counts` for its days and while the rows are the same."""

    id = serializers.CharField()
    gpu = serializers.CharField()
    memory_gib = serializers.IntegerField()
    is_modified = serializers.BooleanField()
    item_class = serializers.ChoiceField(choices=[each.value for each in ItemClass])
    eccn = serializers.CharField()
    reference = serializers.CharField()
    reason = serializers.CharField()
    valid_from = serializers.DateField()
    valid_until = serializers.DateField()
    is_replaced = serializers.BooleanField()
    counts = serializers.BooleanField()
    recorded_by = serializers.CharField()
    at = serializers.DateTimeField()


class RuleTableShape(serializers.Serializer[Any]):
    """The rule table in force; `trouble` says why it is not the file's."""

    version = serializers.CharField()
    trouble = serializers.CharField()
    first_used_at = serializers.DateTimeField(allow_null=True)
    age_days = serializers.IntegerField(allow_null=True)


class ScreeningListShape(serializers.Serializer[Any]):
    """The screening list that counts."""

    id = serializers.CharField()
    file_name = serializers.CharField()
    sha256 = serializers.CharField()
    entries = serializers.IntegerField()
    published_on = serializers.DateField()
    imported_at = serializers.DateTimeField()
    age_days = serializers.IntegerField()


class ExportRulesShape(serializers.Serializer[Any]):
    """What decides at the moment, and how old it is."""

    ruleset = RuleTableShape()
    screening_state = serializers.ChoiceField(choices=list(ListState))
    screening_days_max = serializers.IntegerField()
    screening_list = ScreeningListShape(allow_null=True)


DecisionPage = page_shape("ComplianceDecisionPage", ComplianceDecisionShape)
HeldPage = page_shape("ComplianceHeldPage", HeldCaseShape)
ClearancePage = page_shape("SkuClearancePage", SkuClearanceShape)
ReviewList = page_shape("MatchReviewPage", NameReviewShape)


def decision_json(decision: ComplianceDecision) -> dict[str, Any]:
    """A decision as its firm sees it: see `telling` for what is left out and why."""
    ruleset, on = kept_ruleset(decision.table.text), date.fromisoformat(decision.inputs["on"])
    decided_by = decision.decided_by or decision.rule_ids
    texts = dict(ruleset.documents)
    codes = sorted({code for rule in told_rows(decision.rule_ids, ruleset, on) for code in rule.documents})
    return _about(decision) | {
        "detail": REFUSALS.get(Outcome(decision.outcome), ALLOWED),
        "because": [{"row": rule.id, "source": rule.source} for rule in told_rows(decided_by, ruleset, on)],
        "documents": [{"code": code, "text": texts[code]} for code in codes],
        "ruleset": ruleset.version,
    }


def held_json(decision: ComplianceDecision) -> dict[str, Any]:
    """A decision in an operator's list."""
    return _about(decision) | {
        "buyer": {"id": decision.firm.public_id, "name": decision.firm.name},
        "seller": {"id": decision.seller.public_id, "name": decision.seller.name} if decision.seller else None,
        "decided_by": decision.decided_by or decision.rule_ids,
        "required_documents": decision.required_documents,
        "similar_names": similar_names(decision),
    }


def record_json(record: Record) -> dict[str, Any]:
    """A record in full, for an operator."""
    decision = record.decision
    rulings = decision.rulings.select_related("ruled_by").order_by("pk")
    return held_json(decision) | {
        "rows": [_row_json(row) for row in record.rows],
        "documents": [{"code": code, "text": text, "is_on_file": on_file} for code, text, on_file in record.papers],
        "rulings": [_ruling_json(each) for each in rulings],
        "inputs": decision.inputs,
        "input_hash": decision.input_hash,
        "case_hash": decision.case_hash,
        "ruleset": record.ruleset.version,
        "is_reproduced": record.is_reproduced,
    }


def similar_names(decision: ComplianceDecision) -> list[dict[str, Any]]:
    """The listed names that a party was similar to when the decision was made."""
    screening = decision.inputs.get("screening") or {}
    return [match for match in screening.get("matches", []) if not match.get("is_exact")]


def document_json(document: DocumentOnFile) -> dict[str, Any]:
    """A paper on file."""
    names = ("subject", "code", "reference", "valid_until", "at")
    return _columns(document, names) | {"recorded_by": document.recorded_by.public_id}


def review_json(review: MatchReview) -> dict[str, Any]:
    """A comparison of names."""
    names = ("name", "entry", "listed_name", "is_same", "reason", "at")
    return _columns(review, names) | {"firm": review.firm.public_id, "reviewed_by": review.reviewed_by.public_id}


def clearance_json(clearance: SkuClearance, now: datetime) -> dict[str, Any]:
    """A clearance of `selectors.clearances`."""
    ruleset, on = table_in_force().ruleset, now.astimezone(UTC).date()
    is_replaced: bool = clearance.is_replaced  # type: ignore[attr-defined]
    names = (
        "memory_gib", "is_modified", "item_class", "eccn", "reference", "reason", "valid_from", "valid_until", "at",
        "is_replaced",
    )  # fmt: skip
    gpu, by = clearance.gpu_model.slug, clearance.recorded_by.public_id
    counts = not is_replaced and holds(clearance, on, ruleset.class_digest(gpu, on))
    return _columns(clearance, names) | {"gpu": gpu, "recorded_by": by, "counts": counts}


def state_json(
    table: TableInForce, used: RuleTable | None, newest: ScreeningList | None, now: datetime
) -> dict[str, Any]:
    """The table and the list in force, with their ages in days."""
    return {
        "ruleset": {
            "version": table.ruleset.version,
            "trouble": table.trouble,
            "first_used_at": used.first_used_at if used else None,
            "age_days": (now - used.first_used_at).days if used else None,
        },
        "screening_state": state_of(newest, now).value,
        "screening_days_max": settings.SCREENING_LIST_DAYS_MAX,
        "screening_list": _list_json(newest, now) if newest else None,
    }


def _list_json(newest: ScreeningList, now: datetime) -> dict[str, Any]:
    columns = _columns(newest, ("file_name", "sha256", "published_on", "imported_at"))
    return columns | {"entries": newest.entries_count, "age_days": age_days(newest, now)}


def _about(decision: ComplianceDecision) -> dict[str, Any]:
    columns = _columns(decision, ("at", "deal", "stage", "outcome"))
    return columns | {"subject": subject_of(decision)}


def _row_json(row: SeenRow) -> dict[str, Any]:
    return {"row": row.id, "has_decided": row.has_decided} | _rule_json(row.rule, row.words)


def _rule_json(rule: Rule | None, words: str) -> dict[str, Any]:
    return {
        "outcome": rule.outcome.value if rule else None,
        "effective_from": rule.period.effective_from if rule else None,
        "effective_to": rule.period.effective_to if rule else None,
        "is_liftable": rule.clearable if rule else None,
        "source": rule.source if rule else "",
        "reviewed_by": rule.reviewed_by if rule else "",
        "note": rule.note if rule else words,
    }


def _ruling_json(ruling: HoldRuling) -> dict[str, Any]:
    return _columns(ruling, ("outcome", "reason", "at")) | {"ruled_by": ruling.ruled_by.public_id}


def _columns(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {"id": row.public_id} | {name: getattr(row, name) for name in names}
