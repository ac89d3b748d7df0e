"""A decision's record in full, for people who must answer for it: as values, and in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from marketplace.compliance.inquiry import inquiry_from
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.rules import NO_RULE, REFUSED, Decision, Rule, Ruleset, decide
from marketplace.compliance.tablefile import kept_ruleset

WITHOUT_ROW = {
    NO_RULE: "no row of the table is about this case, so a person decides",
    REFUSED: "an operator has refused this case",
}


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row that matched, as it stood on the day; `rule` is None for what is no row of the table."""

    id: str
    rule: Rule | None
    has_decided: bool

    @property
    def words(self) -> str:
        """What it says where it is no row."""
        return WITHOUT_ROW.get(self.id, "not a row of the table")


@dataclass(frozen=True, slots=True)
class Record:
    """A decision with the table that it was made with, and made again from both."""

    decision: ComplianceDecision
    ruleset: Ruleset
    on: date
    again: Decision

    @property
    def is_reproduced(self) -> bool:
        """Whether the kept inputs and the kept table give the same outcome, rows and hash."""
        return (self.again.outcome, list(self.again.rule_ids), self.again.input_hash) == (
            self.decision.outcome,
            self.decision.rule_ids,
            self.decision.input_hash,
        )

    @property
    def rows(self) -> tuple[SeenRow, ...]:
        """Every row that matched."""
        decided_by = self.decision.decided_by
        ids = self.decision.rule_ids
        return tuple(SeenRow(each, self.ruleset.row(each, self.on), each in decided_by) for each in ids)

    @property
    def papers(self) -> tuple[tuple[str, str, bool], ...]:
        """Code and text of every paper that the rows ask for, and whether it was on file."""
        texts, on_file = dict(self.ruleset.documents), self.decision.inputs.get("documents_on_file", [])
        return tuple((code, texts.get(code, ""), code in on_file) for code in self.decision.required_documents)


def record_of(decision: ComplianceDecision) -> Record:
    """The record of a decision, from what is kept alone."""
    ruleset = kept_ruleset(decision.table.text)
    inquiry, on = inquiry_from(decision.inputs)
    return Record(decision, ruleset, on, decide(inquiry, on=on, ruleset=ruleset))


def explain(decision: ComplianceDecision) -> str:
    """The record, the rows that matched as they stood, the papers, and whether it can be made again."""
    return "\n".join(_lines(record_of(decision)))


def _lines(record: Record) -> Iterator[str]:
    decision = record.decision
    yield from _head(record)
    yield "rows that matched (* decided)"
    for row in record.rows:
        yield from _row(row)
    if record.papers:
        yield "papers"
    for code, text, is_on_file in record.papers:
        yield f"  {code} ({'on file' if is_on_file else 'not on file'}): {text}"
    for ruling in decision.rulings.select_related("ruled_by").order_by("pk"):
        yield f"ruled {ruling.outcome} by {ruling.ruled_by.email} at {ruling.at.isoformat()}: {ruling.reason}"
    yield "inputs"
    yield json.dumps(decision.inputs, indent=2, sort_keys=True, ensure_ascii=False)
    yield "This is not legal advice; whoever runs this exchange owns its rules."


def _head(record: Record) -> Iterator[str]:
    decision = record.decision
    yield f"{decision.public_id}: {decision.outcome.upper()}"
    yield f"  asked at    {decision.at.isoformat()}, {decision.deal} at stage {decision.stage}"
    yield f"  about       {decision.subject or decision.firm.public_id}"
    yield f"  buyer       {decision.firm.name} ({decision.firm.public_id})"
    if decision.seller:
        yield f"  seller      {decision.seller.name} ({decision.seller.public_id})"
    yield f"  rule table  {record.ruleset.version}, first used {decision.table.first_used_at.isoformat()}"
    yield f"  input hash  {decision.input_hash}"
    again = "yes, the same outcome, rows and hash" if record.is_reproduced else f"NO: it is {record.again.outcome} now"
    yield f"  reproduced  {again}"


def _row(row: SeenRow) -> Iterator[str]:
    mark, rule = "*" if row.has_decided else " ", row.rule
    if rule is None:
        yield f"{mark} {row.id}: {row.words}"
        return
    until = f" to {rule.period.effective_to}" if rule.period.effective_to else ""
    yield f"{mark} {rule.id}: {rule.outcome}, in force from {rule.period.effective_from}{until}"
    yield f"    source {rule.source}; reviewed by {rule.reviewed_by}"
    if rule.note:
        yield f"    note   {rule.note}"
