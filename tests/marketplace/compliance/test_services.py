"""Decisions are kept, can be made again, and refuse what they must."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import IntegrityError, ProgrammingError, transaction

from marketplace.common.errors import NotAllowed
from marketplace.compliance import services
from marketplace.compliance.models import ComplianceDecision, RuleTable
from marketplace.compliance.services import decide_lease, reproduce, require_allowed
from marketplace.events.models import Event
from tests.factories import NOON, make_firm

pytestmark = pytest.mark.django_db


@pytest.fixture
def fresh_rules() -> Iterator[None]:
    """The rule file is read once per process; a test that changes it starts and ends without that memory."""
    services.rule_text.cache_clear()
    services.current_ruleset.cache_clear()
    yield
    services.rule_text.cache_clear()
    services.current_ruleset.cache_clear()


def test_an_ordinary_firm_is_allowed_and_the_decision_kept() -> None:
    firm = make_firm(country="DE")
    decision = decide_lease(firm, now=NOON)
    require_allowed(decision)
    kept = ComplianceDecision.objects.get(public_id=decision.public_id)
    assert (kept.firm, kept.outcome, kept.rule_ids, kept.at) == (firm, "allow", ["leases-are-open"], NOON)
    assert kept.inputs["on"] == "2026-11-23"
    assert not Event.objects.filter(firm_id=firm.pk, subject=decision.public_id).exists()


@pytest.mark.parametrize(("country", "outcome"), [("IR", "block"), ("SY", "hold")])
def test_a_refusal_has_a_stable_code_an_event_and_a_record(country: str, outcome: str) -> None:
    firm = make_firm(country=country)
    decision = decide_lease(firm, now=NOON)
    with pytest.raises(NotAllowed) as refused:
        require_allowed(decision)
    assert refused.value.code == f"compliance_{outcome}"
    assert Event.objects.get(subject=decision.public_id).type == f"compliance.{outcome}"


def test_a_decision_can_be_made_again_from_its_record_though_the_rules_changed(
    fresh_rules: None, settings: Any, tmp_path: Path
) -> None:
    firm = make_firm(country="IR")
    old = decide_lease(firm, now=NOON)
    changed = tmp_path / "rules.yaml"
    changed.write_text(services.rule_text().replace("[IR]", "[KP]"))
    services.rule_text.cache_clear()
    services.current_ruleset.cache_clear()
    settings.COMPLIANCE_RULES_FILE = str(changed)
    new = decide_lease(firm, now=NOON)
    assert (old.outcome, new.outcome) == ("block", "allow")
    assert old.table != new.table
    for decision in ComplianceDecision.objects.filter(firm=firm):
        again = reproduce(decision)
        assert (again.outcome, list(again.rule_ids), again.input_hash, again.ruleset_version) == (
            decision.outcome,
            decision.rule_ids,
            decision.input_hash,
            decision.table.version,
        )


def test_decisions_with_one_table_share_its_row() -> None:
    firm = make_firm()
    first, second = (decide_lease(firm, now=NOON + timedelta(days=day)) for day in (0, 1))
    assert first.table == second.table
    assert first.input_hash != second.input_hash


def test_the_database_keeps_decisions_as_they_are() -> None:
    decision = decide_lease(make_firm(), now=NOON)
    for change in (
        lambda: ComplianceDecision.objects.filter(pk=decision.pk).update(outcome="block"),
        lambda: ComplianceDecision.objects.filter(pk=decision.pk).delete(),
        lambda: RuleTable.objects.update(text=""),
    ):
        with pytest.raises((IntegrityError, ProgrammingError)), transaction.atomic():
            change()


def test_the_day_is_the_day_in_utc() -> None:
    late_in_new_york = datetime.fromisoformat("2025-06-30T20:30:00-04:00")
    assert decide_lease(make_firm(country="SY"), now=late_in_new_york).outcome == "hold"


def test_a_malformed_rule_file_stops_the_start(fresh_rules: None, settings: Any, tmp_path: Path) -> None:
    assert not [each for each in run_checks() if each.id == "compliance.E001"]
    services.rule_text.cache_clear()
    services.current_ruleset.cache_clear()
    broken = tmp_path / "rules.yaml"
    broken.write_text("version: '1'\nrules: [{id: a}]")
    settings.COMPLIANCE_RULES_FILE = str(broken)
    (found,) = [each for each in run_checks() if each.id == "compliance.E001"]
    assert "row 1 (a) lacks" in found.msg
