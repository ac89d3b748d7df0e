"""`manage.py explain_decision` prints a record in full."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from marketplace.accounts.models import Firm
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.services import decide_lease
from marketplace.compliance.services.ruling import rule_on_hold
from tests.compliance import fresh_list
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.compliance.test_sales import card, decide

pytestmark = pytest.mark.django_db


def explained(decision: ComplianceDecision) -> str:
    out = io.StringIO()
    call_command("explain_decision", decision.public_id, stdout=out)
    return out.getvalue()


@pytest.fixture
def firms() -> dict[str, Firm]:
    fresh_list(NOON)
    return {"seller": make_firm("Kestrel Render", "DE"), "buyer": make_firm("Wren Research", "DE")}


def test_three_records_in_full(firms: dict[str, Firm]) -> None:
    """An allow, a hold and a block; `pytest -s` shows them."""
    story = card("rtx-4090-d", is_modified=True, memory_mib=49_140)
    texts = {
        "ALLOW": explained(decide(firms, card("rtx-4090"), ships_from="DE", ships_to="FR")),
        "HOLD": explained(decide(firms, story)),
        "BLOCK": explained(decide(firms, card("h100-sxm5-80gb"), ships_from="US", ships_to="CN")),
    }
    for outcome, text in texts.items():
        print(text, end="\n\n")
        assert f": {outcome}" in text.splitlines()[0]
        assert "reproduced  yes" in text and '"on": "2026-11-23"' in text and "not legal advice" in text
    assert "headquarters-and-parent (not on file): proof of the buyer's headquarters" in texts["ALLOW"]
    assert "* item-class-unknown: hold, in force from 2023-11-17" in texts["HOLD"]
    assert "within 3 % of a limit" in texts["HOLD"] and '"memory_gib": 48' in texts["HOLD"]
    assert "* cards-to-d5-datacentre: block, in force from 2026-01-15" in texts["BLOCK"]
    assert "91 FR 1684; reviewed by fallow maintainers, not counsel" in texts["BLOCK"]


def test_a_ruling_and_a_case_without_a_row_are_told(firms: dict[str, Firm]) -> None:
    held = decide(firms, card(), ships_to="UA")
    operator = make_person(is_operator=True)
    rule_on_hold(decision=held, outcome="block", reason="Donetsk", documents={}, operator=operator, now=NOON)
    assert f"ruled block by {operator.email}" in explained(held)
    assert "* operator-refused: an operator has refused this case" in explained(decide(firms, card(), ships_to="UA"))
    ancient = decide_lease(firms["buyer"], now=NOON.replace(year=2020))
    assert "* no-rule: no row of the table is about this case" in explained(ancient)


def test_a_record_that_can_not_be_made_again_says_so(firms: dict[str, Firm]) -> None:
    kept = decide_lease(firms["buyer"], now=NOON)
    kept.pk, kept.public_id, kept.input_hash = None, "cmp_forged", "0" * 64
    kept.save(force_insert=True)
    assert "reproduced  NO" in explained(kept)


def test_an_unknown_id_is_an_error() -> None:
    with pytest.raises(CommandError, match="there is no decision cmp_0"):
        call_command("explain_decision", "cmp_0")
