"""A decision's record in words and in full, for people who must answer for it. Pure but for the rows it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator

from marketplace.compliance.inquiry import inquiry_from
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.rulefile import read_ruleset
from marketplace.compliance.rules import NO_RULE, REFUSED, Rule, Ruleset, decide

WITHOUT_ROW = {
    NO_RULE: "no row of the table is about this case, so a person decides",
    REFUSED: "an operator has refused this case",
}


def explain(decision: ComplianceDecision) -> str:
    """The record, the rows that matched as they stood, the papers, and whether it can be made again."""
    return "\n".join(_lines(decision))


def _lines(decision: ComplianceDecision) -> Iterator[str]:
    ruleset = read_ruleset(decision.table.text)
    yield from _head(decision, ruleset)
    yield "rows that matched (* decided)"
    for rule_id in decision.rule_ids:
        yield from _row(rule_id, decision, ruleset)
    yield from _papers(decision, ruleset)
    for ruling in decision.rulings.select_related("ruled_by").order_by("pk"):
        yield f"ruled {ruling.outcome} by {ruling.ruled_by.email} at {ruling.at.isoformat()}: {ruling.reason}"
    yield "inputs"
    yield json.dumps(decision.inputs, indent=2, sort_keys=True, ensure_ascii=False)
    yield "This is not legal advice; whoever runs this exchange owns its rules."


def _head(decision: ComplianceDecision, ruleset: Ruleset) -> Iterator[str]:
    yield f"{decision.public_id}: {decision.outcome.upper()}"
    yield f"  asked at    {decision.at.isoformat()}, {decision.deal} at stage {decision.stage}"
    yield f"  about       {_about(decision)}"
    yield f"  buyer       {decision.firm.name} ({decision.firm.public_id})"
    if decision.seller:
        yield f"  seller      {decision.seller.name} ({decision.seller.public_id})"
    yield f"  rule table  {ruleset.version}, first used {decision.table.first_used_at.isoformat()}"
    yield f"  input hash  {decision.input_hash}"
    yield f"  reproduced  {_reproduced(decision, ruleset)}"


def _about(decision: ComplianceDecision) -> str:
    return decision.subject or decision.firm.public_id


def _reproduced(decision: ComplianceDecision, ruleset: Ruleset) -> str:
    inquiry, on = inquiry_from(decision.inputs)
    again = decide(inquiry, on=on, ruleset=ruleset)
    same = (again.outcome, list(again.rule_ids), again.input_hash) == (
        decision.outcome,
        decision.rule_ids,
        decision.input_hash,
    )
    return "yes, the same outcome, rows and hash" if same else f"NO: made again it is {again.outcome}"


def _row(rule_id: str, decision: ComplianceDecision, ruleset: Ruleset) -> Iterator[str]:
    mark = "*" if rule_id in decision.decided_by else " "
    rule = _rule(rule_id, decision, ruleset)
    if rule is None:
        yield f"{mark} {rule_id}: {WITHOUT_ROW.get(rule_id, 'not a row of the table')}"
        return
    until = f" to {rule.period.effective_to}" if rule.period.effective_to else ""
    yield f"{mark} {rule.id}: {rule.outcome}, in force from {rule.period.effective_from}{until}"
    yield f"    source {rule.source}; reviewed by {rule.reviewed_by}"
    if rule.note:
        yield f"    note   {rule.note}"


def _rule(rule_id: str, decision: ComplianceDecision, ruleset: Ruleset) -> Rule | None:
    _, on = inquiry_from(decision.inputs)
    return next((rule for rule in ruleset.rules if rule.id == rule_id and rule.period.in_force(on)), None)


def _papers(decision: ComplianceDecision, ruleset: Ruleset) -> Iterator[str]:
    texts, on_file = dict(ruleset.documents), decision.inputs.get("documents_on_file", [])
    if decision.required_documents:
        yield "papers"
    for code in decision.required_documents:
        yield f"  {code} ({'on file' if code in on_file else 'not on file'}): {texts.get(code, '')}"
