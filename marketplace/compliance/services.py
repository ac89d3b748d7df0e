"""Decisions with a record. A refusal is an error that the caller raises after the record is kept."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import Firm
from marketplace.common.errors import NotAllowed
from marketplace.compliance.inquiry import Deal, Inquiry, inputs_of, inquiry_from
from marketplace.compliance.models import ComplianceDecision, RuleTable
from marketplace.compliance.rulefile import RULES_FILE, read_ruleset
from marketplace.compliance.rules import Decision, Outcome, Ruleset, decide
from marketplace.events.services import record_event

REFUSALS = {
    Outcome.BLOCK: "the rules of this exchange do not allow a deal with this firm",
    Outcome.HOLD: "a person of this exchange must look at this firm before a deal",
}


@transaction.atomic
def decide_lease(buyer: Firm, *, now: datetime) -> ComplianceDecision:
    """May the firm lease? The answer is kept; call it outside the transaction that a refusal undoes."""
    return _record(buyer, _lease_inquiry(buyer), now)


def may_lease(firm: Firm, *, now: datetime) -> bool:
    """What `decide_lease` would answer, with no record: for the book, which asks again in every round."""
    return _decide(_lease_inquiry(firm), now).outcome is Outcome.ALLOW


def require_allowed(decision: ComplianceDecision) -> None:
    """NotAllowed with the code `compliance_block` or `compliance_hold`, unless the outcome is allow."""
    outcome = Outcome(decision.outcome)
    if outcome is not Outcome.ALLOW:
        raise NotAllowed(REFUSALS[outcome], code=f"compliance_{outcome.value}")


def reproduce(decision: ComplianceDecision) -> Decision:
    """The decision made again from the record alone: the kept inputs, day and table."""
    inquiry, on = inquiry_from(decision.inputs)
    return decide(inquiry, on=on, ruleset=read_ruleset(decision.table.text))


@functools.cache
def rule_text() -> str:
    """The rule file of this installation, read once; a changed file counts from the next start."""
    return Path(settings.COMPLIANCE_RULES_FILE or RULES_FILE).read_text(encoding="utf-8")


@functools.cache
def current_ruleset() -> Ruleset:
    """The table of `rule_text`; RuleFileError when it is malformed."""
    return read_ruleset(rule_text())


def _lease_inquiry(firm: Firm) -> Inquiry:
    return Inquiry(
        deal=Deal.LEASE,
        headquarters_country=firm.headquarters_country,
        ultimate_parent_country=firm.ultimate_parent_country,
        intended_use=firm.intended_use,
    )


def _decide(inquiry: Inquiry, now: datetime) -> Decision:
    return decide(inquiry, on=now.astimezone(UTC).date(), ruleset=current_ruleset())


def _record(firm: Firm, inquiry: Inquiry, now: datetime) -> ComplianceDecision:
    made = _decide(inquiry, now)
    table, _ = RuleTable.objects.get_or_create(
        version=made.ruleset_version, defaults={"text": rule_text(), "first_used_at": now}
    )
    decision = ComplianceDecision.objects.create(
        firm=firm,
        deal=inquiry.deal.value,
        outcome=made.outcome.value,
        rule_ids=list(made.rule_ids),
        inputs=inputs_of(inquiry, now.astimezone(UTC).date()),
        input_hash=made.input_hash,
        table=table,
        at=now,
    )
    if made.outcome is not Outcome.ALLOW:
        _tell(decision, now)
    return decision


def _tell(decision: ComplianceDecision, now: datetime) -> None:
    record_event(
        firm_id=decision.firm_id,
        type=f"compliance.{decision.outcome}",
        subject=decision.public_id,
        now=now,
        reason=decision.rule_ids[0],
        data={"deal": decision.deal},
    )
