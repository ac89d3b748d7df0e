"""Decisions are kept, can be made again, and refuse what they must."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import IntegrityError, ProgrammingError, transaction

from marketplace.common.errors import NotAllowed
from marketplace.compliance.models import ComplianceDecision, RuleTable
from marketplace.compliance.rulefile import RULES_FILE, RuleFileError
from marketplace.compliance.services import decide_lease, reproduce, require_allowed
from marketplace.compliance.tablefile import table_in_force
from marketplace.events.models import Event
from tests.factories import NOON, make_firm

pytestmark = pytest.mark.django_db


@pytest.fixture
def fresh_rules() -> Iterator[None]:
    """The rule file is read once per process; a test that changes it starts and ends without that memory."""
    table_in_force.cache_clear()
    yield
    table_in_force.cache_clear()


def use_file(settings: Any, file: Path, text: str) -> None:
    """As a restart with another rule file."""
    file.write_text(text)
    settings.COMPLIANCE_RULES_FILE = str(file)
    table_in_force.cache_clear()


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
    use_file(settings, tmp_path / "rules.yaml", table_in_force().text.replace("[IR]", "[KP]"))
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


def complaints() -> list[tuple[str | None, str]]:
    """What the system checks say of the rule file."""
    return [(each.id, each.msg) for each in run_checks() if (each.id or "").startswith("compliance.")]


def test_a_malformed_rule_file_stops_the_start_of_a_new_installation(
    fresh_rules: None, settings: Any, tmp_path: Path
) -> None:
    assert not complaints()
    use_file(settings, tmp_path / "rules.yaml", "version: '1'\nrules: [{id: a}]")
    ((code, text),) = complaints()
    assert code == "compliance.E001" and "row 1 (a) lacks" in text
    with pytest.raises(RuleFileError):
        decide_lease(make_firm(), now=NOON)


ROW = "{id: a, when: {deal: [lease]}, outcome: allow, source: s, reviewed_by: r, effective_from:"
GAP = f"""version: '2'
rules:
  - {ROW} 2022-01-01, effective_to: 2026-01-01}}
  - {ROW} 2026-01-03}}
"""


# As it ships, but for the group of places to which a licence is asked: from 2027 on they would be like any other.
ENDED = RULES_FILE.read_text().replace(
    "VN, YE, ZW]\n    effective_from: 2023-11-17",
    "VN, YE, ZW]\n    effective_from: 2023-11-17\n    effective_to: 2026-12-31",
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ENDED, "d1-d4-d5, of which no row is in force after 2026-12-31"),
        (GAP, "no row is in force after 2026-01-01"),
        ("{", "not YAML"),
        (None, "No such file"),
    ],
)
def test_a_running_installation_keeps_its_last_good_table_and_says_so(
    fresh_rules: None, settings: Any, tmp_path: Path, text: str | None, complaint: str
) -> None:
    firm, file = make_firm(country="IR"), tmp_path / "rules.yaml"
    use_file(settings, file, table_in_force().text.replace('version: "', 'version: "ours-'))
    before = decide_lease(firm, now=NOON)
    use_file(settings, file, text or "")
    if text is None:
        file.unlink()
    after = decide_lease(firm, now=NOON)
    assert (after.outcome, after.table) == ("block", before.table)
    assert after.table.version.startswith("ours-")
    ((code, said),) = complaints()
    assert code == "compliance.W001" and complaint in said and before.table.version in said
    assert complaint in table_in_force().trouble


def test_the_table_that_stays_is_the_one_that_decided_last_not_the_youngest(
    fresh_rules: None, settings: Any, tmp_path: Path
) -> None:
    firm, file, shipped = make_firm(), tmp_path / "rules.yaml", table_in_force().text
    first = decide_lease(firm, now=NOON)
    use_file(settings, file, shipped + "\n# changed")
    assert decide_lease(firm, now=NOON).table != first.table
    use_file(settings, file, shipped)
    assert decide_lease(firm, now=NOON).table == first.table
    use_file(settings, file, "")
    assert decide_lease(firm, now=NOON).table == first.table


def test_a_record_of_the_first_kind_is_made_again_as_it_was() -> None:
    """As it was stored before there were sales: six facts and the day, and a table of rules alone."""
    table = RuleTable.objects.create(version="2026-11-24+9bcc09c1c6cf", text=FIRST_TABLE, first_used_at=NOON)
    inputs = {
        "deal": "lease",
        "headquarters_country": "IR",
        "ultimate_parent_country": "DE",
        "intended_use": "x",
        "destination_country": None,
        "regions": [],
        "on": "2026-11-24",
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    kept = ComplianceDecision.objects.create(
        firm=make_firm(), deal="lease", outcome="block", rule_ids=["embargo-iran", "leases-are-open"],
        inputs=inputs, input_hash=digest, table=table, at=NOON,
    )  # fmt: skip
    again = reproduce(ComplianceDecision.objects.get(pk=kept.pk))
    assert (again.outcome, list(again.rule_ids), again.input_hash) == (kept.outcome, kept.rule_ids, digest)
    assert (kept.stage, kept.subject, kept.required_documents) == ("lease", "", [])


FIRST_TABLE = """version: "2026-11-24"
rules:
  - {id: leases-are-open, when: {deal: [lease]}, outcome: allow, effective_from: 2022-10-07, source: s, reviewed_by: r}
  - {id: embargo-iran, when: {any_country: [IR]}, outcome: block, effective_from: 2022-10-07, source: s, reviewed_by: r}
"""
