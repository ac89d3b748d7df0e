"""Sales are decided at each stage, kept, and cleared by operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, transaction

from marketplace.accounts.models import Firm, User
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.compliance.models import ComplianceDecision, DocumentOnFile, HoldRuling, SkuClearance
from marketplace.compliance.rulefile import RULES_FILE
from marketplace.compliance.selectors import waiting_decisions
from marketplace.compliance.services import (
    Item,
    Stage,
    decide_lease,
    decide_sale,
    item_of,
    may_lease,
    reproduce,
    require_allowed,
)
from marketplace.compliance.services.ruling import SkuFinding, clear_sku, record_document, rule_on_hold
from marketplace.compliance.tablefile import table_in_force
from marketplace.events.models import Event
from tests.compliance import fresh_list
from tests.factories import NOON, make_firm, make_person

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 23)


def card(slug: str = "rtx-3090", **facts: Any) -> Item:
    """An item of the catalogue."""
    facts = {"is_modified": False, "as_rebuilt_for_datacentre": False} | facts
    return item_of(GpuModel.objects.get(slug=slug), **facts)


@pytest.fixture(autouse=True)
def _list(db: None) -> None:
    fresh_list(NOON)


@pytest.fixture
def firms() -> dict[str, Firm]:
    return {"seller": make_firm("Alice", "NL"), "buyer": make_firm("Bob", "DE")}


@pytest.fixture
def operator() -> User:
    return make_person(is_operator=True)


def decide(firms: dict[str, Firm], item: Item, **facts: Any) -> ComplianceDecision:
    plain = {"ships_from": "NL", "ships_to": "DE", "stage": Stage.ORDER, "subject": "sale_1", "now": NOON}
    return decide_sale(item=item, **firms, **(plain | facts))


def again(decision: ComplianceDecision) -> None:
    """The record alone gives the same answer."""
    kept = ComplianceDecision.objects.get(pk=decision.pk)
    made = reproduce(kept)
    assert (made.outcome, list(made.rule_ids), made.input_hash) == (kept.outcome, kept.rule_ids, kept.input_hash)
    assert list(made.required_documents) == kept.required_documents


@pytest.mark.parametrize("stage", [Stage.ORDER, Stage.PAYMENT, Stage.SHIPPING])
def test_a_card_between_ordinary_firms_may_be_sold_at_every_stage(firms: dict[str, Firm], stage: Stage) -> None:
    decision = decide(firms, card(), stage=stage)
    require_allowed(decision)
    assert (decision.stage, decision.subject, decision.seller) == (stage, "sale_1", firms["seller"])
    assert decision.inputs["classification"]["item_class"] == "p"
    again(decision)


@pytest.mark.parametrize(
    ("slug", "country", "outcome", "documents"),
    [
        ("h100-sxm5-80gb", "CN", "block", ["bis-licence"]),
        ("rtx-4090", "HK", "hold", ["end-use-statement", "nac-confirmation", "technical-data"]),
        ("h100-sxm5-80gb", "AE", "hold", ["bis-licence"]),
        ("rtx-4090", "AE", "allow", ["aca-statement", "headquarters-and-parent"]),
        ("rtx-4090", "FR", "allow", ["headquarters-and-parent"]),
        ("rtx-3090", "RU", "block", ["end-use-statement"]),
    ],
)
def test_where_a_card_goes_decides(
    firms: dict[str, Firm], slug: str, country: str, outcome: str, documents: list[str]
) -> None:
    decision = decide(firms, card(slug), ships_to=country)
    assert (decision.outcome, decision.required_documents) == (outcome, documents)
    assert Event.objects.filter(subject=decision.public_id, type=f"compliance.{outcome}").exists() is (
        outcome != "allow"
    )
    again(decision)


def test_an_occupied_region_is_not_its_country(firms: dict[str, Firm]) -> None:
    assert decide(firms, card(), ships_to="UA-43").outcome == "block"
    assert decide(firms, card(), ships_to="UA").outcome == "hold"


def test_the_makers_eccn_leads_over_our_figures(firms: dict[str, Firm]) -> None:
    found = decide(firms, card("h100-pcie-80gb")).inputs["classification"]
    assert (found["item_class"], found["basis"]) == ("a_dc", "vendor")


def clear(operator: User, *, memory: int = 48, **facts: Any) -> SkuClearance:
    plain = {
        "gpu_model": GpuModel.objects.get(slug="rtx-4090-d"),
        "memory_gib": memory,
        "is_modified": True,
        "item_class": "p",
        "eccn": "",
        "reference": "opinion of counsel 2026/118",
        "reason": "sold for workstations, three fans",
        "valid_from": TODAY,
        "valid_until": TODAY + timedelta(days=180),
    }
    return clear_sku(finding=SkuFinding(**(plain | facts)), operator=operator, now=NOON)


def test_the_48_gb_4090_d_of_the_story_is_held_until_its_sku_is_cleared_and_for_as_long(
    firms: dict[str, Firm], operator: User
) -> None:
    story = card("rtx-4090-d", is_modified=True, memory_mib=49_140)
    held = decide(firms, story)
    assert (held.outcome, held.decided_by, held.required_documents) == (
        "hold",
        ["item-class-unknown"],
        ["vendor-eccn-or-counsel"],
    )
    clear(operator, memory=24)
    assert decide(firms, story).outcome == "hold"
    clearance = clear(operator)
    passed = decide(firms, story)
    assert (passed.outcome, passed.inputs["clearance"]) == ("allow", clearance.public_id)
    assert decide(firms, story, ships_to="CN").required_documents == ["end-use-statement"]
    assert "item-class-unknown" in decide(firms, story, now=NOON + timedelta(days=181)).decided_by
    assert decide(firms, card("rtx-4090-d", is_modified=True)).outcome == "hold"
    clear(operator, item_class="unknown", reason="the board says server only")
    assert decide(firms, story).outcome == "hold"
    for decision in (held, passed):
        again(decision)
    assert Event.objects.filter(type="compliance.sku_cleared", actor=operator.public_id, firm_id=None).count() == 3


def test_a_clearance_ends_when_the_rows_about_classes_or_the_makers_word_change(
    firms: dict[str, Firm], operator: User, rule_file: Callable[[Callable[[str], str]], None]
) -> None:
    story = card("rtx-4090-d", is_modified=True, memory_mib=49_140)
    clear(operator)
    assert decide(firms, story).outcome == "allow"
    rule_file(lambda text: text.replace("any_country: [CU]", "any_country: [CU, VE]"))
    assert decide(firms, story).outcome == "allow"
    rule_file(lambda text: text.replace("item_class: [b, p, none]", "item_class: [b, none]"))
    assert decide(firms, story).decided_by == ["item-class-unknown"]
    clear(operator)
    assert decide(firms, story).decided_by == ["no-rule"]
    rule_file(lambda text: text.replace("vendor_eccns:", f"vendor_eccns:{ECCN}"))
    assert decide(firms, story).decided_by == ["item-class-unknown"]
    rule_file(lambda text: text)
    assert decide(firms, story).decided_by == ["item-class-unknown"]  # the last clearance was under other rows


def test_a_clearance_ends_on_the_day_on_which_the_makers_word_or_a_row_changes(
    firms: dict[str, Firm], operator: User, rule_file: Callable[[Callable[[str], str]], None]
) -> None:
    """What is written in the table for a later day was not what the person looked at."""
    story = card("rtx-4090-d", is_modified=True, memory_mib=49_140)
    for change in (
        lambda text: text.replace("vendor_eccns:", f"vendor_eccns:{ECCN.replace('11-01', '11-25')}"),
        lambda text: text.replace("rules:\n", f"rules:\n{LATER_ROW}", 1),
    ):
        rule_file(change)
        clear(operator)
        assert decide(firms, story, now=NOON + timedelta(days=1)).outcome == "allow"
        assert decide(firms, story, now=NOON + timedelta(days=2)).decided_by == ["item-class-unknown"]


def test_a_clearance_of_a_card_as_it_left_the_factory_is_none_of_a_rebuilt_one(
    firms: dict[str, Firm], operator: User
) -> None:
    """The density limits are for cards that are made for datacentres: nobody has looked at those."""
    clear(operator, memory=24, is_modified=False)
    assert decide(firms, card("rtx-4090-d")).outcome == "allow"
    rebuilt = card("rtx-4090-d", as_rebuilt_for_datacentre=True)
    assert decide(firms, rebuilt).decided_by == ["item-class-unknown"]
    clear(operator, memory=24, item_class="a_dc")
    assert decide(firms, rebuilt, ships_to="CN").decided_by == ["cards-to-d5-datacentre"]


LATER_ROW = """
  - id: later
    when: {deal: [sale], item_class: [p], destination_country: [VE]}
    outcome: hold
    effective_from: 2026-11-25
    source: the tests
    reviewed_by: the tests
"""
ECCN = """
  - {name: rtx-4090-d, eccn: 4A090.a, effective_from: 2026-11-01, source: its maker, reviewed_by: the tests}"""


@pytest.fixture
def rule_file(settings: Any, tmp_path: Path) -> Iterator[Callable[[Callable[[str], str]], None]]:
    """Another rule file, as after a restart."""

    def use(change: Callable[[str], str]) -> None:
        file = tmp_path / "rules.yaml"
        changed = change(RULES_FILE.read_text())
        file.write_text(changed)
        settings.COMPLIANCE_RULES_FILE = str(file)
        table_in_force.cache_clear()
        assert not table_in_force().trouble

    yield use
    table_in_force.cache_clear()


def test_a_ruling_lifts_a_row_only_as_it_stood(
    firms: dict[str, Firm], operator: User, rule_file: Callable[[Callable[[str], str]], None]
) -> None:
    held = decide(firms, card(), ships_to="UA")
    rule_on_hold(decision=held, outcome="allow", reason="Kyiv", documents={}, operator=operator, now=NOON)
    rule_file(lambda text: text.replace("so a person looks at the address", "look at the address"))
    assert decide(firms, card(), ships_to="UA").outcome == "allow"
    row = "outcome: hold\n    effective_from: 2022-10-07\n    source: 15 CFR 746.6; Exec"
    asks = row.replace("\n", "\n    documents: [end-use-statement]\n", 1)
    rule_file(lambda text: text.replace(row, asks))
    again = decide(firms, card(), ships_to="UA")
    assert (again.decided_by, again.required_documents) == (["cards-to-ukraine"], ["end-use-statement"])


def test_a_row_that_no_ruling_lifts_later_is_lifted_on_the_days_of_the_one_before(
    firms: dict[str, Firm], operator: User, rule_file: Callable[[Callable[[str], str]], None]
) -> None:
    first = "destination_country: [UA]}\n    outcome: hold\n    effective_from: 2022-10-07\n"
    after = "  - id: supercomputer-use\n"
    later = """  - id: cards-to-ukraine
    when: {deal: [sale], destination_country: [UA]}
    outcome: hold
    clearable: false
    effective_from: 2026-11-25
    source: the tests
    reviewed_by: the tests

"""
    rule_file(lambda t: t.replace(first, f"{first}    effective_to: 2026-11-24\n").replace(after, later + after))
    held = decide(firms, card(), ships_to="UA")
    rule_on_hold(decision=held, outcome="allow", reason="Kyiv", documents={}, operator=operator, now=NOON)
    assert decide(firms, card(), ships_to="UA").outcome == "allow"
    after_it = decide(firms, card(), ships_to="UA", now=NOON + timedelta(days=2))
    with pytest.raises(Conflict):
        rule_on_hold(decision=after_it, outcome="allow", reason="Kyiv", documents={}, operator=operator, now=NOON)


def test_a_ruling_does_not_outlive_the_papers_that_were_shown_for_it(firms: dict[str, Firm], operator: User) -> None:
    firms["buyer"] = make_firm("Moorhen Optical Instruments Ltd", "DE")
    held = decide(firms, card())
    assert (held.decided_by, held.required_documents) == (["unverified-party"], ["end-use-statement"])
    paper = {"decision": held, "code": "end-use-statement", "reference": "file 8", "operator": operator}
    record_document(valid_until=TODAY + timedelta(days=1), now=NOON, **paper)
    rule_on_hold(decision=held, outcome="allow", reason="known", documents={}, operator=operator, now=NOON)
    assert decide(firms, card(), now=NOON + timedelta(days=1)).outcome == "allow"
    expired = decide(firms, card(), now=NOON + timedelta(days=2))
    assert expired.decided_by == ["unverified-party"]
    again(expired)
    record_document(valid_until=None, now=NOON, **paper)
    assert decide(firms, card(), now=NOON + timedelta(days=2)).outcome == "allow"


@pytest.mark.parametrize("column", ["headquarters_country", "ultimate_parent_country"])
@pytest.mark.parametrize("side", ["buyer", "seller"])
def test_a_firm_that_moves_between_order_and_shipping_is_asked_about_anew(
    firms: dict[str, Firm], operator: User, side: str, column: str
) -> None:
    held = decide(firms, card(), ships_to="UA")
    rule_on_hold(decision=held, outcome="allow", reason="Kyiv", documents={}, operator=operator, now=NOON)
    assert decide(firms, card(), ships_to="UA").outcome == "allow"
    Firm.objects.filter(pk=firms[side].pk).update(**{column: "US"})
    firms[side].refresh_from_db()
    assert decide(firms, card(), ships_to="UA").outcome == "hold"
    Firm.objects.filter(pk=firms[side].pk).update(**{column: "IR"})
    firms[side].refresh_from_db()
    assert decide(firms, card(), ships_to="UA", stage=Stage.SHIPPING).outcome == "block"


@pytest.mark.parametrize(
    ("country", "where", "slug", "outcome", "row"),
    [
        ("DE", "DE", "h100-sxm5-80gb", "allow", "cards-elsewhere-controlled"),
        ("DE", "HK", "h100-sxm5-80gb", "block", "cards-to-d5-datacentre"),
        ("HK", "DE", "h100-sxm5-80gb", "block", "cards-to-d5-datacentre"),
        ("CN", "DE", "rtx-4090", "hold", "cards-to-d5-nac"),
        ("DE", "AE", "h100-sxm5-80gb", "hold", "cards-to-d1-d4-datacentre"),
        ("IR", "DE", "rtx-3090", "block", "embargo-iran"),
    ],
)
def test_the_lab_on_the_way_gets_the_card_too(
    firms: dict[str, Firm], country: str, where: str, slug: str, outcome: str, row: str
) -> None:
    lab = make_firm("Lab", country)
    decision = decide(firms, card(slug), lab=lab, lab_country=where)
    assert decision.outcome == outcome and row in decision.decided_by
    again(decision)
    named = make_firm("Grimshaw Trading FZE", "DE")
    assert decide(firms, card(), lab=named, lab_country="DE").decided_by == ["listed-party"]


def test_a_lab_in_an_occupied_region_is_not_in_its_country(firms: dict[str, Firm]) -> None:
    assert decide(firms, card(), lab=make_firm(), lab_country="UA-43").decided_by == ["crimea"]


def test_a_lab_abroad_makes_two_movements_of_one_inside_a_country(firms: dict[str, Firm]) -> None:
    at_home = {"ships_from": "CN", "ships_to": "CN"}
    firms["buyer"] = make_firm("Dong", "CN")
    direct = decide(firms, card("rtx-4090"), **at_home)
    assert "cards-to-d5-nac" not in direct.rule_ids
    assert "cards-to-d5-nac" in decide(firms, card("rtx-4090"), lab=make_firm(), lab_country="DE", **at_home).rule_ids


@pytest.mark.parametrize("place", ["ZZ", "UK", "EU", "uk", "XX-01"])
def test_a_country_that_there_is_not_is_nowhere_and_waits(firms: dict[str, Firm], place: str) -> None:
    assert "country-unknown" in decide(firms, card("h100-sxm5-80gb"), ships_to=place).decided_by


def test_no_ruling_clears_what_only_a_sku_clearance_clears(firms: dict[str, Firm], operator: User) -> None:
    held = decide(firms, card("a100-sxm4-80gb"))
    with pytest.raises(Conflict) as refused:
        rule_on_hold(
            decision=held,
            outcome="allow",
            reason="looks fine",
            documents={"vendor-eccn-or-counsel": "x"},
            operator=operator,
            now=NOON,
        )
    assert refused.value.code == "not_liftable"
    assert not HoldRuling.objects.exists() and not DocumentOnFile.objects.exists()


def test_an_operator_lifts_a_hold_for_its_subject_stage_and_case(firms: dict[str, Firm], operator: User) -> None:
    to_kyiv = {"ships_to": "UA"}
    held = decide(firms, card(), **to_kyiv)
    assert list(waiting_decisions()) == [held]
    rule_on_hold(
        decision=held, outcome="allow", reason="the address is in Kyiv", documents={}, operator=operator, now=NOON
    )
    assert not waiting_decisions()
    passed = decide(firms, card(), **to_kyiv)
    assert passed.outcome == "allow" and passed.inputs["ruled"]["outcome"] == "allow"
    assert decide(firms, card(), stage=Stage.PAYMENT, **to_kyiv).outcome == "hold"
    assert decide(firms, card(), subject="sale_2", **to_kyiv).outcome == "hold"
    assert decide(firms, card("rtx-3060-12gb"), **to_kyiv).outcome == "hold"
    firms["buyer"].intended_use = "nuclear physics"
    firms["buyer"].save()
    assert decide(firms, card(), **to_kyiv).outcome == "hold"
    again(passed)
    event = Event.objects.get(type="compliance.released")
    assert (event.actor, event.firm_id, event.reason) == (operator.public_id, firms["buyer"].pk, "cards-to-ukraine")


def test_an_operator_refuses_and_the_answer_is_block(firms: dict[str, Firm], operator: User) -> None:
    held = decide(firms, card(), ships_to="UA")
    rule_on_hold(decision=held, outcome="block", reason="Donetsk", documents={}, operator=operator, now=NOON)
    refused = decide(firms, card(), ships_to="UA")
    assert (refused.outcome, refused.decided_by) == ("block", ["operator-refused"])
    again(refused)


def test_a_hold_passes_only_with_the_papers_that_its_rows_ask_for(firms: dict[str, Firm], operator: User) -> None:
    held = decide(firms, card("rtx-4090"), ships_to="CN")
    papers = {"nac-confirmation": "A123456", "technical-data": "file 7"}
    ruling = {"decision": held, "outcome": "allow", "reason": "confirmed", "operator": operator, "now": NOON}
    with pytest.raises(Invalid, match="end-use-statement"):
        rule_on_hold(documents=papers, **ruling)
    record_document(
        decision=held,
        code="end-use-statement",
        reference="file 8",
        valid_until=TODAY + timedelta(days=30),
        operator=operator,
        now=NOON,
    )
    rule_on_hold(documents=papers, **ruling)
    passed = decide(firms, card("rtx-4090"), ships_to="CN")
    assert passed.outcome == "allow"
    assert passed.inputs["documents_on_file"] == ["end-use-statement", "nac-confirmation", "technical-data"]
    later = decide(firms, card("rtx-4090"), ships_to="CN", now=NOON + timedelta(days=31))
    assert "end-use-statement" not in later.inputs["documents_on_file"]


def test_a_licence_on_file_lifts_the_block_that_no_ruling_lifts(firms: dict[str, Firm], operator: User) -> None:
    blocked = decide(firms, card("h100-sxm5-80gb"), ships_to="CN")
    with pytest.raises(Conflict):
        rule_on_hold(decision=blocked, outcome="allow", reason="x", documents={}, operator=operator, now=NOON)
    record_document(
        decision=blocked, code="bis-licence", reference="D1234567", valid_until=None, operator=operator, now=NOON
    )
    assert decide(firms, card("h100-sxm5-80gb"), ships_to="CN").outcome == "allow"
    assert decide(firms, card("h100-sxm5-80gb"), ships_to="CN", subject="sale_2").outcome == "block"


def test_a_lease_that_waits_can_be_let_pass_as_well(operator: User) -> None:
    firm = make_firm(country="SY")
    decide_lease(firm, now=NOON)
    held = decide_lease(firm, now=NOON)
    assert list(waiting_decisions()) == [held] and not may_lease(firm, now=NOON)
    rule_on_hold(decision=held, outcome="allow", reason="a school", documents={}, operator=operator, now=NOON)
    assert may_lease(firm, now=NOON) and decide_lease(firm, now=NOON).outcome == "allow"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"outcome": "hold"}, Invalid),
        ({"reason": "  "}, Invalid),
        ({"reason": "x" * 1001}, Invalid),
        ({"documents": {"passport": "x"}}, Invalid),
        ({"documents": {"bis-licence": ""}}, Invalid),
    ],
)
def test_a_ruling_that_is_none_changes_nothing(
    firms: dict[str, Firm], operator: User, change: dict[str, Any], error: type[Exception]
) -> None:
    held = decide(firms, card(), ships_to="UA")
    plain = {"outcome": "allow", "reason": "fine", "documents": {}, "operator": operator, "now": NOON}
    with pytest.raises(error):
        rule_on_hold(decision=held, **(plain | change))
    assert list(waiting_decisions()) == [held]


@pytest.mark.parametrize(
    "change",
    [
        {"item_class": "fast"},
        {"eccn": "whatever"},
        {"valid_until": TODAY - timedelta(days=1)},
        {"valid_until": TODAY + timedelta(days=731)},
        {"reason": ""},
        {"reference": ""},
    ],
)
def test_a_clearance_that_is_none_is_refused(operator: User, change: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        clear(operator, **change)


def test_only_operators_decide(firms: dict[str, Firm]) -> None:
    somebody = make_person(firms["buyer"])
    held = decide(firms, card(), ships_to="UA")
    with pytest.raises(NotAllowed):
        rule_on_hold(decision=held, outcome="allow", reason="me", documents={}, operator=somebody, now=NOON)
    with pytest.raises(NotAllowed):
        clear(somebody)
    with pytest.raises(NotAllowed):
        record_document(decision=held, code="bis-licence", reference="x", valid_until=None, operator=somebody, now=NOON)


def test_the_database_keeps_rulings_papers_and_clearances_as_they_are(firms: dict[str, Firm], operator: User) -> None:
    held = decide(firms, card(), ships_to="UA")
    rule_on_hold(
        decision=held,
        outcome="allow",
        reason="fine",
        documents={"end-use-statement": "x"},
        operator=operator,
        now=NOON,
    )
    clear(operator)
    for model in (HoldRuling, DocumentOnFile, SkuClearance):
        with pytest.raises((IntegrityError, ProgrammingError)), transaction.atomic():
            model.objects.all().delete()
