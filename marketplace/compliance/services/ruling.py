"""What operators decide: cases that wait, papers that were shown, classes of SKUs. Each is in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction

from marketplace.accounts.models import User
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, FieldError, Invalid, NotAllowed
from marketplace.compliance.items import ItemClass, is_eccn
from marketplace.compliance.models import ComplianceDecision, DocumentOnFile, EndedHold, HoldRuling, SkuClearance
from marketplace.compliance.rules import NO_RULE, Outcome
from marketplace.compliance.selectors import documents_of, subject_of
from marketplace.compliance.tablefile import kept_ruleset, table_in_force
from marketplace.compliance.telling import told_reason
from marketplace.events.services import record_event

REASON_LENGTH_MAX = 1000
REFERENCE_LENGTH_MAX = 200
CLEARANCE_MAX = timedelta(days=730)


@dataclass(frozen=True, slots=True)
class SkuFinding:
    """What a person found about a card as it is sold: model, memory, and whether it left the factory like that."""

    gpu_model: GpuModel
    memory_gib: int
    is_modified: bool
    item_class: str
    reference: str  # where the opinion or the maker's answer is
    reason: str
    valid_from: date
    valid_until: date
    eccn: str = ""


@transaction.atomic
def rule_on_hold(
    *,
    decision: ComplianceDecision,
    outcome: str,
    reason: str,
    documents: Mapping[str, str],
    operator: User,
    now: datetime,
) -> HoldRuling:
    """Let a case that waits pass (`allow`) or refuse it (`block`), with the reason and the papers that were seen.

    `documents` are references by code. Raises NotAllowed unless `operator` is one; Conflict when the decision is no
    hold, what it is about is over, or nothing of it can be lifted; Invalid without a reason, or when a paper that the
    rows ask for is missing.
    """
    check_operator(operator)
    _check_ruling(decision, outcome, reason)
    if outcome == Outcome.ALLOW:
        _check_liftable(decision)
        _check_papers(decision, documents, now)
    for code, reference in sorted(documents.items()):
        record_document(decision=decision, code=code, reference=reference, valid_until=None, operator=operator, now=now)
    ruling = HoldRuling.objects.create(
        decision=decision, outcome=outcome, reason=reason.strip(), ruled_by=operator, at=now
    )
    _tell_ruling(ruling)
    return ruling


@transaction.atomic
def record_document(
    *,
    decision: ComplianceDecision,
    code: str,
    reference: str,
    valid_until: date | None,
    operator: User,
    now: datetime,
) -> DocumentOnFile:
    """An operator has seen a paper for what the decision is about; rows that ask for it count it from now on.

    Raises NotAllowed and Invalid.
    """
    check_operator(operator)
    if code not in dict(table_in_force().ruleset.documents):
        refuse("/code", "unknown", f"the rules know no document {code!r}")
    check_text("/reference", reference, REFERENCE_LENGTH_MAX)
    if valid_until is not None and valid_until < now.astimezone(UTC).date():
        refuse("/valid_until", "past", "this document has expired")
    document = DocumentOnFile.objects.create(
        subject=subject_of(decision),
        code=code,
        reference=reference.strip(),
        valid_until=valid_until,
        recorded_by=operator,
        at=now,
    )
    record_event(
        firm_id=decision.firm_id,
        type="compliance.document",
        subject=decision.public_id,
        actor=operator.public_id,
        reason=code,
        data={"document": document.public_id, "about": document.subject},
        now=now,
    )
    return document


@transaction.atomic
def clear_sku(*, finding: SkuFinding, operator: User, now: datetime) -> SkuClearance:
    """Record the class that a person found for a SKU, for some days; the class `unknown` takes an earlier one back.

    It counts while the rows about classes and the maker's ECCN are those of the table in force now. Raises NotAllowed
    and Invalid.
    """
    check_operator(operator)
    _check_finding(finding)
    ruleset = table_in_force().ruleset
    digest = ruleset.class_digest(finding.gpu_model.slug, now.astimezone(UTC).date())
    clearance = SkuClearance.objects.create(**_columns(finding), class_digest=digest, recorded_by=operator, at=now)
    record_event(
        firm_id=None,
        type="compliance.sku_cleared",
        subject=clearance.public_id,
        actor=operator.public_id,
        reason=finding.item_class,
        data={
            "gpu": finding.gpu_model.slug,
            "memory_gib": finding.memory_gib,
            "is_modified": finding.is_modified,
            "valid_until": finding.valid_until.isoformat(),
            "ruleset": ruleset.version,
        },
        now=now,
    )
    return clearance


def check_operator(user: User) -> None:
    """NotAllowed unless the person runs this exchange."""
    if not (user.is_operator and user.is_active):
        raise NotAllowed("only an operator decides this", code="operators_only")


def refuse(pointer: str, code: str, detail: str) -> None:
    """Invalid, with the field that is wrong."""
    raise Invalid(detail, errors=(FieldError(pointer, code, detail),))


def _columns(finding: SkuFinding) -> dict[str, Any]:
    return {field.name: getattr(finding, field.name) for field in fields(finding)}


def _check_finding(finding: SkuFinding) -> None:
    check_text("/reason", finding.reason, REASON_LENGTH_MAX)
    check_text("/reference", finding.reference, REFERENCE_LENGTH_MAX)
    if finding.item_class not in list(ItemClass):
        refuse("/item_class", "unknown", f"a class is one of {', '.join(ItemClass)}")
    if finding.eccn and not is_eccn(finding.eccn):
        refuse("/eccn", "malformed", "an ECCN looks like 4A090.a or EAR99")
    if finding.valid_until < finding.valid_from:
        refuse("/valid_until", "order", "the last day is before the first")
    if finding.valid_until - finding.valid_from > CLEARANCE_MAX:
        refuse("/valid_until", "out_of_range", f"a clearance is looked at anew after {CLEARANCE_MAX.days} days")


def _tell_ruling(ruling: HoldRuling) -> None:
    decision = ruling.decision
    ruleset = kept_ruleset(decision.table.text)
    record_event(
        firm_id=decision.firm_id,
        type="compliance.released" if ruling.outcome == Outcome.ALLOW else "compliance.refused",
        subject=decision.public_id,
        actor=ruling.ruled_by.public_id,
        reason=told_reason(decision.decided_by, ruleset, date.fromisoformat(decision.inputs["on"])),
        data={"ruling": ruling.public_id, "stage": decision.stage, "about": decision.subject},
        now=ruling.at,
    )


def _check_ruling(decision: ComplianceDecision, outcome: str, reason: str) -> None:
    if outcome not in {Outcome.ALLOW, Outcome.BLOCK}:
        refuse("/outcome", "unknown", "a ruling is allow or block")
    check_text("/reason", reason, REASON_LENGTH_MAX)
    if decision.outcome != Outcome.HOLD:
        raise Conflict("only a hold waits for a ruling", code="not_held")
    if EndedHold.objects.filter(decision=decision).exists():
        raise Conflict("what this was about is over: nothing waits for a ruling", code="case_over")


def _check_liftable(decision: ComplianceDecision) -> None:
    """At least one of the rows that hold it gives way to a ruling."""
    ruleset, on = kept_ruleset(decision.table.text), date.fromisoformat(decision.inputs["on"])
    held_by = decision.decided_by or decision.rule_ids
    rows = [ruleset.row(rule_id, on) for rule_id in held_by]
    if NO_RULE not in held_by and not any(row and row.clearable for row in rows):
        raise Conflict(
            f"no ruling lifts {', '.join(held_by)}: see the note of the row for what does", code="not_liftable"
        )


def _check_papers(decision: ComplianceDecision, documents: Mapping[str, str], now: datetime) -> None:
    on_file = {document.code for document in documents_of(subject_of(decision), now.astimezone(UTC).date())}
    missing = sorted(set(decision.required_documents) - set(documents) - on_file)
    if missing:
        refuse("/documents", "missing", f"the rows ask for {', '.join(missing)}: say where each is")


def check_text(pointer: str, text: str, length_max: int) -> None:
    """Invalid unless somebody has written something, and not too much."""
    if not 0 < len(text.strip()) <= length_max:
        refuse(pointer, "length", f"say it in 1 to {length_max} characters")
