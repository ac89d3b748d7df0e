"""The rule engine, its file format and the table that ships."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from marketplace.compliance.facts import facts_of
from marketplace.compliance.inquiry import Deal, Inquiry, Ruled, inputs_of, inquiry_from
from marketplace.compliance.rulefile import RULES_FILE, RuleFileError, read_new_ruleset, read_ruleset
from marketplace.compliance.rules import NO_RULE, REFUSED, Outcome, Period, Rule, Ruleset, decide
from tests.marketplace.compliance.cases import SHIPPED, lease, sale
from tests.marketplace.compliance.cases import shipped as decided
from tests.marketplace.compliance.test_table import SALES

TODAY = date(2026, 11, 24)


def shipped(inquiry: Inquiry, on: date = TODAY) -> tuple[Outcome, tuple[str, ...]]:
    decision = decided(inquiry, on)
    return decision.outcome, decision.rule_ids


def test_an_ordinary_firm_may_lease() -> None:
    assert shipped(lease()) == (Outcome.ALLOW, ("leases-are-open",))


@pytest.mark.parametrize("country", ["CU", "IR", "KP", "RU", "BY", "ir"])
@pytest.mark.parametrize("where", ["headquarters_country", "ultimate_parent_country", "destination_country"])
def test_an_embargoed_country_blocks_wherever_it_stands(country: str, where: str) -> None:
    outcome, rule_ids = shipped(lease(**{where: country}))
    assert outcome is Outcome.BLOCK
    assert "leases-are-open" in rule_ids


def test_syria_was_blocked_until_its_programme_ended_and_is_held_since() -> None:
    assert shipped(lease(headquarters_country="SY"), date(2025, 6, 30))[0] is Outcome.BLOCK
    assert shipped(lease(headquarters_country="SY"), date(2025, 7, 1))[0] is Outcome.HOLD


def test_an_embargoed_region_blocks_though_its_country_does_not() -> None:
    assert shipped(lease(headquarters_country="UA")) == (Outcome.ALLOW, ("leases-are-open",))
    assert shipped(lease(headquarters_country="UA", regions=("UA-43",)))[0] is Outcome.BLOCK
    assert shipped(lease(headquarters_country="UA", regions=("ua-14",)))[0] is Outcome.HOLD


@pytest.mark.parametrize("country", ["", "Germany", "D", "49", "UK", "ZZ", "EU"])
def test_a_country_that_nobody_has_said_is_held(country: str) -> None:
    assert "country-unknown" in shipped(lease(ultimate_parent_country=country))[1]
    assert shipped(lease(headquarters_country=country))[0] is Outcome.HOLD


def test_words_of_a_sensitive_use_are_for_a_person_to_read() -> None:
    assert shipped(lease(intended_use="Guidance of missiles, (military)."))[0] is Outcome.HOLD
    assert shipped(lease(intended_use="demilitarised zone maps"))[0] is Outcome.ALLOW


def test_the_most_severe_row_wins() -> None:
    outcome, rule_ids = shipped(lease(headquarters_country="IR", intended_use="nuclear physics"))
    assert outcome is Outcome.BLOCK
    assert rule_ids == ("embargo-iran", "leases-are-open", "sensitive-use")


def test_what_no_row_covers_is_held() -> None:
    assert shipped(sale(), date(2023, 11, 16)) == (Outcome.HOLD, (NO_RULE,))
    assert shipped(lease(), date(2020, 1, 1)) == (Outcome.HOLD, (NO_RULE,))


def test_an_operators_ruling_lifts_the_holds_that_he_looked_at_and_no_others() -> None:
    held = sale(intended_use="missile parts for a museum")
    assert shipped(held)[0] is Outcome.HOLD
    cleared = replace(held, ruled=Ruled("rul_1", "allow", ("sensitive-use",)))
    assert shipped(cleared) == (Outcome.ALLOW, ("cards-elsewhere", "sensitive-use"))
    assert shipped(replace(cleared, destination_country="UA"))[0] is Outcome.HOLD
    assert shipped(replace(cleared, destination_country="IR"))[0] is Outcome.BLOCK


def test_a_ruling_lifts_no_row_that_asks_for_something_else() -> None:
    unknown = sale(item_class="unknown", ruled=Ruled("rul_1", "allow", ("item-class-unknown",)))
    assert shipped(unknown)[0] is Outcome.HOLD


def test_a_ruling_may_refuse_what_rows_allow_and_lift_the_lack_of_rows() -> None:
    refused = decided(lease(ruled=Ruled("rul_1", "block", ())))
    assert (refused.outcome, refused.decided_by) == (Outcome.BLOCK, (REFUSED,))
    lonely = sale(ruled=Ruled("rul_1", "allow", (NO_RULE,)))
    assert shipped(lonely, date(2023, 11, 16)) == (Outcome.ALLOW, (NO_RULE,))


COUNTRIES = st.sampled_from(["DE", "US", "CN", "IR", "CU", "SY", "RU", "", "xx", "Iran"])
INQUIRIES = st.builds(
    Inquiry,
    deal=st.sampled_from(Deal),
    headquarters_country=COUNTRIES,
    ultimate_parent_country=COUNTRIES,
    intended_use=st.text(max_size=40),
    destination_country=st.one_of(st.none(), COUNTRIES),
    regions=st.lists(st.sampled_from(["UA-43", "UA-14", "DE-BE"]), max_size=2).map(tuple),
)
DAYS = st.dates(date(2021, 1, 1), date(2030, 1, 1))
RULES = st.builds(
    Rule,
    id=st.sampled_from(["a", "b", "c", "d"]),
    when=st.dictionaries(
        st.sampled_from(["deal", "any_country", "headquarters_country"]),
        st.frozensets(st.sampled_from(["lease", "sale", "DE", "IR", "unknown"]), min_size=1),
        min_size=1,
    ).map(lambda when: tuple(sorted(when.items()))),
    outcome=st.sampled_from(Outcome),
    period=st.builds(Period, effective_from=DAYS, effective_to=st.one_of(st.none(), DAYS)),
    source=st.just("s"),
    reviewed_by=st.just("r"),
)


@given(rules=st.lists(RULES, max_size=6), inquiry=INQUIRIES, on=DAYS)
def test_a_decision_is_the_worst_of_its_rows_and_total(rules: list[Rule], inquiry: Inquiry, on: date) -> None:
    decision = decide(inquiry, on=on, ruleset=Ruleset("v", tuple(rules)))
    facts = facts_of(inquiry)
    worst, ids = None, set()
    for rule in rules:
        dated = rule.period.effective_from <= on <= (rule.period.effective_to or date.max)
        if dated and all(any(value in facts[fact] for value in accepted) for fact, accepted in rule.when):
            ids.add(rule.id)
            worst = max(worst or "allow", rule.outcome, key=["allow", "hold", "block"].index)
    assert decision.outcome == (worst or "hold")
    assert set(decision.rule_ids) == (ids or {NO_RULE})


@given(inquiry=INQUIRIES | SALES, on=DAYS)
def test_a_stored_inquiry_is_decided_the_same_again(inquiry: Inquiry, on: date) -> None:
    again, day = inquiry_from(json.loads(json.dumps(inputs_of(inquiry, on))))
    assert (again, day) == (inquiry, on)
    assert decide(again, on=day, ruleset=SHIPPED) == decide(inquiry, on=on, ruleset=SHIPPED)


@given(inquiry=INQUIRIES, on=DAYS)
def test_another_day_has_another_hash(inquiry: Inquiry, on: date) -> None:
    other = decide(inquiry, on=on + timedelta(days=1), ruleset=SHIPPED).input_hash
    assert decide(inquiry, on=on, ruleset=SHIPPED).input_hash != other


ROW: dict[str, Any] = {
    "id": "row",
    "when": {"any_country": ["CU"]},
    "outcome": "block",
    "effective_from": date(2026, 1, 1),
    "source": "s",
    "reviewed_by": "r",
}


def table(*rows: dict[str, Any]) -> str:
    return yaml.safe_dump({"version": "1", "rules": list(rows)})


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


def test_a_changed_file_has_another_version() -> None:
    assert read_ruleset(table(ROW)).version != read_ruleset(table(ROW | {"outcome": "hold"})).version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: [", "not YAML"),
        ("- a", "a version and rules"),
        ("version: '1'\nrules: []", "at least one row"),
        ("version: 1\nrules: [{}]", "version is a text"),
        ("version: '1'\nrules: [a]", "row 1 is not a mapping"),
        (table(without("source")), r"row 1 \(row\) lacks source"),
        (table(without("id")), r"row 1 \(without id\) lacks id"),
        (table(ROW | {"when": {}}), "at least one condition"),
        (table(ROW | {"when": {"country": ["CU"]}}), "there is no fact country"),
        (table(ROW | {"when": {"any_country": "CU"}}), "needs a list"),
        (table(ROW | {"when": {"any_country": ["Cuba"]}}), "'Cuba' is not a value of any_country"),
        (table(ROW).replace("- CU", "- NO"), "False is not a value of any_country; put it in quotes"),
        (table(ROW | {"outcome": "maybe"}), "'maybe' is none of allow, hold, block"),
        (table(ROW | {"effective_from": "soon"}), "effective_from is not a day"),
        (table(ROW | {"effective_to": date(2025, 1, 1)}), "effective_to is before effective_from"),
        (table(ROW | {"reviewed_by": " "}), "reviewed_by is empty"),
        (table(ROW | {"severity": 3}), "unknown key severity"),
        (table(ROW, ROW), "two rows are in force on 2026-01-01"),
        (
            table(ROW | {"effective_to": date(2026, 3, 1)}, ROW | {"effective_from": date(2026, 3, 3)}),
            "row: no row is in force after 2026-03-01",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RuleFileError, match=message):
        read_ruleset(text)


OPEN = {"effective_from": date(2026, 1, 1), "source": "s", "reviewed_by": "r"}
GROUP = OPEN | {"name": "far", "countries": ["CU"]}
SWITCH = OPEN | {"name": "strict", "is_on": True}
ECCN = OPEN | {"name": "h100", "eccn": "4A090.a"}


def whole(*rows: dict[str, Any], **sections: Any) -> str:
    return yaml.safe_dump({"version": "1", "rules": list(rows or [ROW]), **sections})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (whole(extra=[]), "and nothing else"),
        (whole(documents=[]), "documents is a dict"),
        (whole(documents={"a": ""}), "documents: a is empty"),
        (whole(country_groups=[GROUP | {"countries": ["Cuba"]}]), r"country group 1 \(far\): 'Cuba'"),
        (whole(country_groups=[GROUP | {"countries": []}]), "countries is a list"),
        (whole(country_groups=[{"name": "far"}]), "lacks countries, effective_from"),
        (whole(country_groups=[GROUP, GROUP]), "far: two rows are in force"),
        (whole(toggles=[SWITCH | {"is_on": "yes"}]), "is_on is true or false"),
        (
            whole(toggles=[SWITCH | {"effective_to": date(2026, 2, 1)}, SWITCH | {"effective_from": date(2026, 2, 9)}]),
            "strict: no row is in force after 2026-02-01",
        ),
        (whole(vendor_eccns=[ECCN | {"eccn": "none"}]), "'none' is not a value of eccn"),
        (whole(ROW | {"documents": ["paper"]}), "documents names 'paper', which the file does not define"),
        (whole(ROW | {"when": {"buyer_group": ["near"]}}, country_groups=[GROUP]), "buyer_group names 'near'"),
        (whole(ROW | {"when": {"toggle": ["loose"]}}, toggles=[SWITCH]), "toggle names 'loose'"),
        (whole(ROW | {"unless": {}}), "unless needs at least one condition"),
        (whole(ROW | {"unless": {"item_class": ["fast"]}}), "'fast' is not a value of item_class"),
        (whole(ROW | {"clearable": "no"}), "clearable is true or false"),
        ("version: '1'\nversion: '2'\nrules: []", "'version' stands twice"),
    ],
)
def test_the_other_sections_are_read_as_strictly(text: str, message: str) -> None:
    with pytest.raises(RuleFileError, match=message):
        read_ruleset(text)


LAST = date(2026, 6, 30)
BY_GROUP = ROW | {"when": {"buyer_group": ["far"]}}
BY_SWITCH = ROW | {"unless": {"toggle": ["strict"]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            whole(BY_GROUP, country_groups=[GROUP | {"effective_to": LAST}]),
            "row asks for far, of which no row .* 2026-06-30",
        ),
        (
            whole(BY_GROUP | {"effective_to": date(2026, 7, 1)}, country_groups=[GROUP | {"effective_to": LAST}]),
            "after 2026-06-30",
        ),
        (
            whole(BY_GROUP | {"effective_from": date(2025, 12, 31)}, country_groups=[GROUP]),
            "row asks for far from 2025-12-31, which begins on 2026-01-01",
        ),
        (whole(BY_SWITCH, toggles=[SWITCH | {"effective_to": LAST}]), "asks for strict, of which no row"),
        (whole(ROW | {"when": {"any_country": ["UK"]}}), "row: ISO 3166-1 has no country UK"),
        (whole(ROW, country_groups=[GROUP | {"countries": ["CU", "XX"]}]), "country group far: .* no country XX"),
        (whole(ROW | {"when": {"any_region": ["UK-43"]}}), "row: ISO 3166-1 has no country UK"),
        (whole(ROW | {"when": {"firm_listed_on": ["SDN", "SND"]}}), "row: no screening list is called SND"),
        (whole(ROW | {"unless": {"similar_name_on": ["EU"]}}), "row: no screening list is called EU"),
        (whole(ROW | {"when": {"intended_use_word": ["Nuclear"]}}), "row: words .* lower case, unlike Nuclear"),
        (whole(ROW | {"id": "no-rule"}), "no-rule means something else"),
        (whole(ROW | {"id": "operator-refused"}), "operator-refused means something else"),
        (whole(ROW, vendor_eccns=[ECCN | {"effective_to": LAST}]), "vendor ECCN h100 ends on 2026-06-30"),
    ],
)
def test_a_new_file_in_which_something_silently_matches_nothing_is_refused(text: str, message: str) -> None:
    """A group that has ended lets pass what its row is there to stop; a table kept for old decisions may have it."""
    with pytest.raises(RuleFileError, match=message):
        read_new_ruleset(text)
    assert read_ruleset(text)


def test_a_row_and_its_group_may_end_on_one_day_and_a_group_may_change_on_the_way() -> None:
    ended = {"effective_to": LAST}
    assert read_new_ruleset(whole(BY_GROUP | ended, country_groups=[GROUP | ended]))
    later = GROUP | {"effective_from": LAST + timedelta(days=1), "countries": ["CU", "unknown"]}
    assert read_new_ruleset(whole(BY_GROUP, country_groups=[GROUP | ended, later]))
    assert read_new_ruleset("\ufeff" + RULES_FILE.read_text()).rules == SHIPPED.rules


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.datetimes(),
    st.sampled_from(["", "sale", "CU", "row", "far", "strict", "block", "unknown", "a_dc"]), st.text(max_size=4),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=6
)
KEYS = st.sampled_from([*ROW, "effective_to", "unless", "documents", "clearable", "note", "name", "countries", "is_on"])


@given(changes=st.lists(st.tuples(st.sampled_from(["rules", "country_groups", "toggles"]), KEYS, VALUES), max_size=3))
def test_whatever_a_file_has_in_it_it_is_read_or_refused(changes: list[tuple[str, str, Any]]) -> None:
    document: dict[str, Any] = {
        "version": "1", "rules": [dict(BY_GROUP)], "country_groups": [dict(GROUP)], "toggles": [dict(SWITCH)],
    }  # fmt: skip
    for section, key, value in changes:
        document[section][0][key] = value
    with contextlib.suppress(RuleFileError):
        read_new_ruleset(yaml.dump(document))


@pytest.mark.parametrize(
    "text", ["[" * 5000, "a: " + "{b: " * 3000, "\x00", "!!python/object:os.system {}", "a: 1\n---\nb: 2", ""]
)
def test_what_is_no_document_of_ours_is_refused_and_not_fallen_over(text: str) -> None:
    with pytest.raises(RuleFileError):
        read_new_ruleset(text)


def test_sections_are_for_their_days() -> None:
    ruleset = read_ruleset(
        whole(
            ROW | {"when": {"buyer_group": ["far"]}, "unless": {"toggle": ["strict"]}, "documents": ["paper"]},
            documents={"paper": "a paper"},
            country_groups=[GROUP],
            toggles=[
                SWITCH | {"effective_to": date(2026, 2, 1)},
                SWITCH | {"effective_from": date(2026, 2, 2), "is_on": False},
            ],
            vendor_eccns=[ECCN],
        )
    )
    cuba = lease(headquarters_country="CU")
    assert decide(cuba, on=date(2026, 2, 1), ruleset=ruleset).rule_ids == (NO_RULE,)
    found = decide(cuba, on=date(2026, 2, 2), ruleset=ruleset)
    assert (found.outcome, found.required_documents) == (Outcome.BLOCK, ("paper",))
    assert (ruleset.eccn_of("h100", TODAY), ruleset.eccn_of("a100", TODAY)) == ("4A090.a", "")
    assert ruleset.eccn_of("h100", date(2025, 12, 31)) == ""


def test_rows_of_one_id_may_follow_each_other() -> None:
    ruleset = read_ruleset(
        table(ROW | {"effective_to": date(2026, 3, 1)}, ROW | {"effective_from": date(2026, 3, 2), "outcome": "hold"})
    )
    cuba = lease(headquarters_country="CU")
    assert decide(cuba, on=date(2026, 3, 1), ruleset=ruleset).outcome is Outcome.BLOCK
    assert decide(cuba, on=date(2026, 3, 2), ruleset=ruleset).outcome is Outcome.HOLD
