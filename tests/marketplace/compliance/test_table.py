"""The table that ships: every row as a test, it is total, and every row can decide."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.compliance.inquiry import Inquiry, ListState, Party, Stage
from marketplace.compliance.items import Basis, Classification, ItemClass
from marketplace.compliance.rules import NO_RULE, Outcome, decide
from tests.marketplace.compliance.cases import SHIPPED, TODAY, lease, match, sale, screened, shipped, with_toggle

SALES_SINCE = date(2023, 11, 17)
LEASES_SINCE = date(2022, 10, 7)
TO_CHINA = {"destination_country": "CN", "headquarters_country": "CN", "ultimate_parent_country": "CN"}
IN_CHINA = TO_CHINA | {"origin_country": "CN", "documents_on_file": ("origin-invoices",)}
NAC = ["end-use-statement", "nac-confirmation", "technical-data"]

# One line for every row of the table: (row, the case in which it decides, outcome, documents that are asked for).
ROWS: list[tuple[str, Inquiry, str, list[str]]] = [
    ("leases-are-open", lease(), "allow", []),
    ("embargo-cuba", sale(seller=Party("f", "NL", "CU")), "block", []),
    ("embargo-iran", sale(destination_country="IR"), "block", ["end-use-statement"]),
    ("embargo-north-korea", lease(ultimate_parent_country="KP"), "block", []),
    ("syria", lease(headquarters_country="SY"), "hold", []),
    ("russia-and-belarus", sale(origin_country="BY"), "block", []),
    ("crimea", sale(destination_country="UA", regions=("UA-43",)), "block", []),
    ("donetsk-and-luhansk", lease(regions=("UA-14",)), "hold", []),
    ("country-unknown", sale(origin_country=""), "hold", []),
    ("sensitive-use", sale(intended_use="missile guidance"), "hold", []),
    ("leases-to-d5-firms", lease(headquarters_country="CN"), "hold", []),
    ("leases-without-fresh-list", lease(screening=screened(state=ListState.STALE)), "hold", []),
    ("listed-party", lease(screening=screened(match("SDN"))), "block", []),
    ("unverified-party", sale(screening=screened(match("UVL"))), "hold", ["end-use-statement"]),
    ("listed-parent-affiliates", sale(screening=screened(match("EL", role="parent"))), "block", []),
    ("listed-parent", sale(screening=screened(match("UVL", role="parent"))), "hold", []),
    ("similar-name", sale(screening=screened(match("EL", is_exact=False))), "hold", []),
    ("screening-list-stale", sale(screening=screened(state=ListState.MISSING)), "hold", []),
    ("cards-and-syria", sale(destination_country="SY"), "block", ["end-use-statement"]),
    ("cards-to-ukraine", sale(destination_country="UA"), "hold", []),
    ("supercomputer-use", sale(intended_use="an exascale supercomputer"), "hold", ["end-use-statement"]),
    ("cards-to-d5-datacentre", sale(item_class="a_dc", **TO_CHINA), "block", ["bis-licence"]),
    (
        "cards-to-d5-datacentre-licensed",
        sale(item_class="a_dc", documents_on_file=("bis-licence",), **TO_CHINA),
        "allow",
        ["bis-licence", "end-use-statement"],
    ),
    ("cards-to-d5-nac", sale(item_class="a_ndc", **TO_CHINA), "hold", NAC),
    ("cards-in-country-for-d5-firm", sale(item_class="b", origin_country="DE", headquarters_country="MO"), "hold", NAC),
    (
        "cards-to-d5-confirmed",
        sale(item_class="a_ndc", documents_on_file=("nac-confirmation",), **TO_CHINA),
        "allow",
        ["end-use-statement", "technical-data"],
    ),
    ("cards-in-d5-aca", sale(item_class="a_ndc", **IN_CHINA), "allow", ["aca-statement"]),
    ("cards-to-d5-uncontrolled", sale(**TO_CHINA), "allow", ["end-use-statement"]),
    ("cards-to-d5-ship-with-statement", sale(stage=Stage.SHIPPING, **TO_CHINA), "hold", ["end-use-statement"]),
    ("cards-to-d1-d4-datacentre", sale(item_class="a_dc", destination_country="AE"), "hold", ["bis-licence"]),
    (
        "cards-to-d1-d4-licensed",
        sale(item_class="a_dc", destination_country="AE", documents_on_file=("bis-licence",)),
        "allow",
        ["bis-licence", "headquarters-and-parent"],
    ),
    (
        "cards-to-d1-d4-aca",
        sale(item_class="a_ndc", destination_country="SA"),
        "allow",
        ["aca-statement", "headquarters-and-parent"],
    ),
    ("cards-to-d1-d4-uncontrolled", sale(destination_country="VN"), "allow", []),
    ("cards-elsewhere-controlled", sale(item_class="a_dc"), "allow", ["headquarters-and-parent"]),
    ("cards-elsewhere", sale(item_class="b"), "allow", []),
    ("ai-diffusion", sale(item_class="a_ndc"), "hold", ["bis-licence", "headquarters-and-parent"]),
    ("item-class-unknown", sale(item_class="unknown"), "hold", ["vendor-eccn-or-counsel"]),
    (
        "controlled-card-in-d5",
        sale(item_class="a_dc", origin_country="CN"),
        "hold",
        ["headquarters-and-parent", "origin-invoices"],
    ),
]
SWITCHED = {
    "leases-to-d5-firms": "hold-leases-to-d5-firms",
    "leases-without-fresh-list": "hold-leases-without-fresh-list",
    "ai-diffusion": "ai-diffusion-enforced",
}


def test_no_row_lacks_its_line() -> None:
    assert [row[0] for row in ROWS] == list(dict.fromkeys(rule.id for rule in SHIPPED.rules))


@pytest.mark.parametrize(("rule_id", "inquiry", "outcome", "documents"), ROWS, ids=[row[0] for row in ROWS])
def test_every_row_decides_a_case_alone(rule_id: str, inquiry: Inquiry, outcome: str, documents: list[str]) -> None:
    ruleset = with_toggle(SWITCHED[rule_id]) if rule_id in SWITCHED else SHIPPED
    decision = shipped(inquiry, ruleset=ruleset)
    assert (decision.outcome, list(decision.required_documents)) == (outcome, documents)
    assert decision.decided_by == (rule_id,)
    without = replace(ruleset, rules=tuple(rule for rule in ruleset.rules if rule.id != rule_id))
    other = decide(inquiry, on=TODAY, ruleset=without)
    assert (other.outcome, other.decided_by) != (decision.outcome, decision.decided_by)


# Rows that say something else on other days than their line above does: (row, first day) → outcome.
EARLIER = {("syria", date(2022, 10, 7)): "block", ("cards-to-d5-datacentre", date(2023, 11, 17)): "block"}


def test_every_row_that_was_replaced_has_its_line() -> None:
    days = {rule.id: rule.period.effective_from for rule in SHIPPED.rules}  # the last of each id
    replaced = {(rule.id, rule.period.effective_from) for rule in SHIPPED.rules} - set(days.items())
    assert replaced == set(EARLIER)


@pytest.mark.parametrize("rule", SHIPPED.rules, ids=lambda rule: f"{rule.id} from {rule.period.effective_from}")
def test_every_dated_row_decides_its_case_from_its_first_to_its_last_day_and_on_no_other(rule: Any) -> None:
    _, inquiry, outcome, _ = next(row for row in ROWS if row[0] == rule.id)
    outcome = EARLIER.get((rule.id, rule.period.effective_from), outcome)
    switch = SWITCHED.get(rule.id) or next(
        (toggle for fact, on in rule.when if fact == "toggle" for toggle in on), None
    )
    ruleset = with_toggle(switch) if switch else SHIPPED
    first = rule.period.effective_from
    if any(fact.endswith("_group") for fact, _ in rule.when):
        first = max(first, SALES_SINCE)
    for day in (first, rule.period.effective_to or TODAY):
        decision = decide(inquiry, on=day, ruleset=replace(ruleset, rules=(rule,)))
        assert (decision.rule_ids, decision.outcome) == ((rule.id,), outcome)
    alone = replace(ruleset, rules=(rule,))
    ends = [rule.period.effective_to + timedelta(days=1)] if rule.period.effective_to else []
    for day in (rule.period.effective_from - timedelta(days=1), *ends):
        assert decide(inquiry, on=day, ruleset=alone).rule_ids == (NO_RULE,)


def test_a_switch_that_is_off_changes_nothing() -> None:
    assert shipped(lease(headquarters_country="CN")).outcome is Outcome.ALLOW
    assert shipped(sale(item_class="a_ndc")).outcome is Outcome.ALLOW
    assert shipped(lease(screening=screened(state=ListState.MISSING))).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("day", "outcome"),
    [
        (date(2025, 9, 28), "hold"),
        (date(2025, 9, 29), "block"),
        (date(2025, 11, 9), "block"),
        (date(2025, 11, 10), "hold"),
        (date(2026, 11, 9), "hold"),
        (date(2026, 11, 10), "block"),
    ],
)
def test_the_affiliates_rule_has_its_days(day: date, outcome: str) -> None:
    assert shipped(sale(screening=screened(match("EL", role="parent"))), day).outcome == outcome


def test_nicaragua_joined_its_group_on_a_day() -> None:
    to_managua = sale(item_class="a_dc", destination_country="NI")
    assert shipped(to_managua, date(2024, 3, 14)).outcome is Outcome.HOLD  # D:1 or D:4 as the list had it
    assert shipped(to_managua, date(2024, 3, 15)).outcome is Outcome.BLOCK


@pytest.mark.parametrize("where", ["headquarters_country", "ultimate_parent_country", "destination_country"])
def test_a_headquarters_or_a_parent_counts_wherever_the_card_goes(where: str) -> None:
    assert shipped(sale(item_class="a_dc", **{where: "HK"})).outcome is Outcome.BLOCK
    assert shipped(sale(item_class="a_ndc", **{where: "CN"})).outcome is Outcome.HOLD
    assert shipped(sale(item_class="p", **{where: "MO"})).outcome is Outcome.ALLOW


def test_the_seller_does_not_count_as_the_one_who_gets_the_card() -> None:
    assert shipped(sale(item_class="a_dc", seller=Party("f", "CN", "CN"))).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("origin", "destination", "movement"),
    [
        ("US", "CN", "export"),
        ("DE", "CN", "reexport"),
        ("CN", "CN", "in-country"),
        ("UA-43", "UA", "in-country"),
        ("", "CN", "unknown"),
        ("DE", "Germany", "unknown"),
    ],
)
def test_where_a_card_comes_from_says_what_kind_of_transfer_it_is(origin: str, destination: str, movement: str) -> None:
    inquiry = sale(origin_country=origin, destination_country=destination)
    assert SHIPPED.facts(inquiry, TODAY)["movement"] == {movement}
    assert SHIPPED.facts(lease(), TODAY)["movement"] == frozenset()


PLACES = ["US", "DE", "CN", "MO", "AE", "VN", "IL", "IR", "SY", "UA", "NI", "", "xx1"]
DOCUMENTS = [code for code, _ in SHIPPED.documents]
LISTS = ["EL", "SDN", "UVL", "OTHER"]
SCREENINGS = st.builds(
    lambda matches, state: screened(*matches, state=state),
    st.lists(
        st.builds(match, st.sampled_from(LISTS), role=st.sampled_from(["firm", "parent"]), is_exact=st.booleans()),
        max_size=2,
    ),
    st.sampled_from(ListState),
)
SALES = st.builds(
    sale,
    item_class=st.sampled_from(ItemClass),
    headquarters_country=st.sampled_from(PLACES),
    ultimate_parent_country=st.sampled_from(PLACES),
    origin_country=st.sampled_from(PLACES),
    destination_country=st.sampled_from(PLACES),
    seller=st.builds(Party, st.just("f"), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    stage=st.sampled_from([Stage.ORDER, Stage.PAYMENT, Stage.SHIPPING]),
    documents_on_file=st.sets(st.sampled_from(DOCUMENTS)).map(lambda codes: tuple(sorted(codes))),
    intended_use=st.sampled_from(["training", "nuclear", "exascale", ""]),
    screening=SCREENINGS,
)


@given(inquiry=SALES, on=st.dates(SALES_SINCE, TODAY + timedelta(days=3650)))
@settings(max_examples=400, deadline=None)
def test_no_sale_falls_between_the_rows(inquiry: Inquiry, on: date) -> None:
    assert NO_RULE not in shipped(inquiry, on).rule_ids


def _changes() -> list[date]:
    """The days on which the table says something new, from the first of sales on."""
    dated = [*SHIPPED.rules, *SHIPPED.groups, *SHIPPED.toggles]
    starts = {each.period.effective_from for each in dated}
    ends = {each.period.effective_to + timedelta(days=1) for each in dated if each.period.effective_to}
    return sorted({max(day, SALES_SINCE) for day in starts | ends} | {TODAY})


def test_every_kind_of_place_class_and_transfer_has_a_row_on_every_day_that_matters() -> None:
    """All of them, without chance: totality needs no luck."""
    places = ["US", "DE", "CN", "MO", "AE"]
    for day, item_class, buyer, origin, destination, on_file in itertools.product(
        _changes(), ItemClass, ["DE", "CN"], places, places, [(), ("bis-licence",), ("nac-confirmation",)]
    ):
        inquiry = sale(
            item_class=item_class,
            headquarters_country=buyer,
            origin_country=origin,
            destination_country=destination,
            documents_on_file=on_file,
        )
        assert NO_RULE not in shipped(inquiry, day).rule_ids


def test_every_lease_has_a_row_since_there_are_leases() -> None:
    for day in (LEASES_SINCE, *_changes()):
        assert "leases-are-open" in shipped(lease(), day).rule_ids


@given(inquiry=SALES)
@settings(max_examples=200, deadline=None)
def test_no_card_of_an_unknown_class_is_ever_allowed(inquiry: Inquiry) -> None:
    unknown = replace(inquiry, classification=Classification(ItemClass.UNKNOWN, Basis.COMPUTED, ""))
    assert shipped(unknown).outcome is not Outcome.ALLOW


@given(inquiry=SALES)
@settings(max_examples=200, deadline=None)
def test_a_datacentre_card_never_reaches_d5_without_a_licence(inquiry: Inquiry) -> None:
    china = replace(
        inquiry,
        destination_country="CN",
        documents_on_file=(),
        classification=Classification(ItemClass.A_DC, Basis.COMPUTED, ""),
    )
    assert shipped(china).outcome is Outcome.BLOCK
