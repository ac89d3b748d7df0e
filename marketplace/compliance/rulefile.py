"""Reads a rule table from YAML; a malformed one is refused with the row and what is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from marketplace.common.countries import COUNTRIES
from marketplace.compliance.facts import UNKNOWN
from marketplace.compliance.inquiry import Deal, ListState, Stage
from marketplace.compliance.items import ECCN, ItemClass
from marketplace.compliance.listfile import CODES, OTHER
from marketplace.compliance.rules import NO_RULE, REFUSED, Conditions, Dated, Outcome, Period, Rule, Ruleset

RULES_FILE = Path(__file__).parent / "tables" / "rules.yaml"
SECTIONS = {"documents": dict, "country_groups": list, "toggles": list, "vendor_eccns": list}
REQUIRED = frozenset({"id", "when", "outcome", "effective_from", "source", "reviewed_by"})
OPTIONAL = frozenset({"effective_to", "note", "unless", "documents", "clearable"})
DATED = frozenset({"name", "effective_from", "source", "reviewed_by"})
NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*")
COUNTRY = re.compile(rf"[A-Z]{{2}}|{UNKNOWN}")
LIST_CODE = re.compile(r"[A-Z]{2,5}")
GROUP_FACTS = frozenset({"buyer_group", "destination_group", "origin_group", "control_group"})
LIST_FACTS = frozenset({"firm_listed_on", "parent_listed_on", "similar_name_on"})
LISTS = CODES | {OTHER}
RESERVED = frozenset({NO_RULE, REFUSED})
SHAPES: dict[str, re.Pattern[str]] = {
    "deal": re.compile("|".join(Deal)),
    "stage": re.compile("|".join(Stage)),
    "movement": re.compile(f"export|reexport|in-country|{UNKNOWN}"),
    "item_class": re.compile("|".join(ItemClass)),
    "toggle": NAME,
    "document_on_file": NAME,
    "any_region": re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}"),
    "intended_use_word": re.compile(r"\w+"),
    "screening_list": re.compile("|".join(ListState)),
    **{fact: NAME for fact in GROUP_FACTS},
    **{f"{place}_country": COUNTRY for place in ("any", "headquarters", "ultimate_parent", "destination", "origin")},
    **{fact: LIST_CODE for fact in LIST_FACTS},
}


class RuleFileError(ValueError):
    """The rule file is malformed; no rule of it may be used."""


@dataclass(frozen=True, slots=True)
class _Names:
    """What rows may refer to."""

    documents: frozenset[str]
    groups: frozenset[str]
    toggles: frozenset[str]

    def of(self, fact: str) -> frozenset[str] | None:
        """The names that a fact's values are among; None where every value of the right shape will do."""
        if fact in GROUP_FACTS:
            return self.groups
        return {"toggle": self.toggles, "document_on_file": self.documents}.get(fact)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := [key for number, key in enumerate(keys) if key in keys[:number]]:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_ruleset(text: str) -> Ruleset:
    """The table of a YAML text. Its version is the file's own with a digest of the content behind it."""
    document = _document(text)
    documents = _documents(document.get("documents", {}))
    groups = _rows("country group", document.get("country_groups", []), lambda row: _dated(row, "countries", _group))
    toggles = _rows("toggle", document.get("toggles", []), lambda row: _dated(row, "is_on", _switch))
    eccns = _rows("vendor ECCN", document.get("vendor_eccns", []), lambda row: _dated(row, "eccn", _eccn))
    names = _Names(frozenset(documents), *(frozenset(each.name for each in rows) for rows in (groups, toggles)))
    rules = _rows("row", document["rules"], lambda row: _rule(row, names))
    _check_periods((rule.id, rule.period) for rule in rules)
    for rows in (groups, toggles, eccns):
        _check_periods((each.name, each.period) for each in rows)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Ruleset(f"{document['version']}+{digest}", rules, groups, toggles, eccns, tuple(sorted(documents.items())))


def read_new_ruleset(text: str) -> Ruleset:
    """The table of a file that is to come into force; what a kept table may still have is refused as well.

    A country or a list that there is not, a word in capitals, or a group or toggle that ends before the rows that ask
    for it, would match nothing without a word, and let pass what the row is there to stop. A maker's ECCN that just
    ends would leave the class to our own figures.
    """
    ruleset = read_ruleset(text)
    _check_eccns(ruleset.eccns)
    for group in ruleset.groups:
        _check_countries(f"country group {group.name}", group.values)
    named: dict[str, list[Period]] = {each.name: [] for each in (*ruleset.groups, *ruleset.toggles)}
    for each in (*ruleset.groups, *ruleset.toggles):
        named[each.name].append(each.period)
    for rule in ruleset.rules:
        _check_rule(rule, named)
    return ruleset


def _check_eccns(rows: Iterable[Dated]) -> None:
    last = {each.name: each.period for each in sorted(rows, key=lambda each: each.period.effective_from)}
    if ended := sorted(name for name, period in last.items() if period.effective_to is not None):
        raise RuleFileError(
            f"vendor ECCN {ended[0]} ends on {last[ended[0]].effective_to}: say what holds from then on"
        )


def _check_rule(rule: Rule, named: Mapping[str, list[Period]]) -> None:
    if rule.id in RESERVED:
        raise RuleFileError(f"{rule.id} means something else in a decision: give the row another id")
    for fact, values in (*rule.when, *rule.unless):
        if fact.endswith("_country"):
            _check_countries(rule.id, values)
        elif fact == "any_region":
            _check_countries(rule.id, {each.partition("-")[0] for each in values})
        elif fact in LIST_FACTS and (strangers := sorted(values - LISTS)):
            raise RuleFileError(f"{rule.id}: no screening list is called {', '.join(strangers)}")
        elif fact == "intended_use_word" and (capitals := sorted(each for each in values if each != each.lower())):
            raise RuleFileError(f"{rule.id}: words are compared in lower case, unlike {', '.join(capitals)}")
        elif fact in GROUP_FACTS or fact == "toggle":
            for name in sorted(values):
                _check_cover(rule, name, named[name])


def _check_countries(where: str, values: Iterable[str]) -> None:
    if strangers := sorted(set(values) - set(COUNTRIES) - {UNKNOWN}):
        raise RuleFileError(f"{where}: ISO 3166-1 has no country {', '.join(strangers)}")


def _check_cover(rule: Rule, name: str, periods: list[Period]) -> None:
    """The periods of a name follow each other without a gap; so their ends are enough to look at."""
    first = min(each.effective_from for each in periods)
    if rule.period.effective_from < first:
        raise RuleFileError(f"{rule.id} asks for {name} from {rule.period.effective_from}, which begins on {first}")
    if any(each.effective_to is None for each in periods):
        return
    last, until = max(each.effective_to or date.max for each in periods), rule.period.effective_to or date.max
    if until > last:
        raise RuleFileError(f"{rule.id} asks for {name}, of which no row is in force after {last}")


def _document(text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-02-30
        raise RuleFileError(f"not YAML: {error}") from error
    if not isinstance(document, dict) or not {"version", "rules"} <= set(document) <= {"version", "rules", *SECTIONS}:
        raise RuleFileError(f"the file has a version and rules, it may have {', '.join(SECTIONS)}, and nothing else")
    version, rows = document["version"], document["rules"]
    if not isinstance(version, str) or not version or not isinstance(rows, list) or not rows:
        raise RuleFileError("version is a text, rules is a list with at least one row")
    for name, kind in SECTIONS.items():
        if not isinstance(document.get(name, kind()), kind):
            raise RuleFileError(f"{name} is a {kind.__name__}")
    return document


def _documents(section: Mapping[Any, Any]) -> dict[str, str]:
    try:
        return {_shaped(code, NAME, "documents"): _text(section, code) for code in section}
    except ValueError as error:
        raise RuleFileError(f"documents: {error}") from error


def _rows(what: str, rows: Iterable[Any], build: Callable[[dict[str, Any]], Any]) -> tuple[Any, ...]:
    return tuple(_row(f"{what} {number}", row, build) for number, row in enumerate(rows, start=1))


def _row(where: str, row: Any, build: Callable[[dict[str, Any]], Any]) -> Any:
    if not isinstance(row, dict):
        raise RuleFileError(f"{where} is not a mapping")
    named = f"{where} ({row.get('id', row.get('name', 'without id'))})"
    try:
        return build(row)
    except KeyError as missing:
        raise RuleFileError(f"{named} {missing.args[0]}") from missing
    except ValueError as error:
        raise RuleFileError(f"{named}: {error}") from error


def _check_keys(row: Mapping[str, Any], required: frozenset[str], optional: frozenset[str]) -> None:
    if missing := sorted(required - set(row)):
        raise KeyError(f"lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in set(row) - required - optional):
        raise KeyError(f"has the unknown key {', '.join(unknown)}")


def _rule(row: Mapping[str, Any], names: _Names) -> Rule:
    _check_keys(row, REQUIRED, OPTIONAL)
    if not isinstance(row.get("clearable", True), bool):
        raise ValueError("clearable is true or false")
    return Rule(
        id=_shaped(row["id"], NAME, "id"),
        when=_conditions("when", row["when"], names),
        unless=_conditions("unless", row["unless"], names) if "unless" in row else (),
        outcome=_outcome(row["outcome"]),
        period=_period(row),
        documents=_among(row.get("documents", []), "documents", names.documents) if "documents" in row else (),
        clearable=row.get("clearable", True),
        source=_text(row, "source"),
        reviewed_by=_text(row, "reviewed_by"),
        note=_text(row, "note") if "note" in row else "",
    )


def _dated(row: Mapping[str, Any], key: str, read: Callable[[Any], frozenset[str]]) -> Dated:
    _check_keys(row, DATED | {key}, frozenset({"effective_to", "note"}))
    return Dated(
        name=_shaped(row["name"], NAME, "name"),
        values=read(row[key]),
        period=_period(row),
        source=_text(row, "source"),
        reviewed_by=_text(row, "reviewed_by"),
    )


def _group(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("countries is a list")
    return frozenset(_shaped(each, COUNTRY, "countries") for each in value)


def _switch(value: Any) -> frozenset[str]:
    if not isinstance(value, bool):
        raise ValueError("is_on is true or false")
    return frozenset({"on"} if value else ())


def _eccn(value: Any) -> frozenset[str]:
    return frozenset({_shaped(value, ECCN, "eccn")})


def _period(row: Mapping[str, Any]) -> Period:
    first, last = _day(row, "effective_from"), _day(row, "effective_to") if row.get("effective_to") else None
    if last is not None and last < first:
        raise ValueError("effective_to is before effective_from")
    return Period(first, last)


def _outcome(value: Any) -> Outcome:
    if value not in list(Outcome):
        raise ValueError(f"outcome {value!r} is none of {', '.join(Outcome)}")
    return Outcome(value)


def _day(row: Mapping[str, Any], key: str) -> date:
    if type(row[key]) is not date:
        raise ValueError(f"{key} is not a day such as 2026-11-24")
    return row[key]  # type: ignore[no-any-return]


def _text(row: Mapping[Any, Any], key: Any) -> str:
    if not isinstance(row[key], str) or not row[key].strip():
        raise ValueError(f"{key} is empty")
    return row[key]  # type: ignore[no-any-return]


def _conditions(key: str, value: Any, names: _Names) -> Conditions:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{key} needs at least one condition")
    if unknown := sorted(str(fact) for fact in set(value) - set(SHAPES)):
        raise ValueError(f"there is no fact {', '.join(unknown)}")
    return tuple((fact, _accepted(fact, value[fact], names)) for fact in sorted(value))


def _accepted(fact: str, values: Any, names: _Names) -> frozenset[str]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{fact} needs a list of values")
    known = names.of(fact)
    if known is not None:
        return frozenset(_among(values, fact, known))
    return frozenset(_shaped(each, SHAPES[fact], fact) for each in values)


def _among(values: Any, what: str, known: frozenset[str]) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{what} needs a list of values")
    if strangers := [each for each in values if not isinstance(each, str) or each not in known]:
        raise ValueError(f"{what} names {strangers[0]!r}, which the file does not define")
    return tuple(sorted(set(values)))


def _shaped(value: Any, shape: re.Pattern[str], what: str) -> str:
    # YAML reads NO (Norway) as false and 09 as text or a number: a value that is no text is a mistake.
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise ValueError(f"{value!r} is not a value of {what}; put it in quotes if YAML reads it as something else")
    return value


def _check_periods(rows: Iterable[tuple[str, Period]]) -> None:
    """Rows of one name follow each other day after day."""
    by_name: dict[str, list[Period]] = defaultdict(list)
    for name, period in rows:
        by_name[name].append(period)
    for name, periods in by_name.items():
        for earlier, later in pairwise(sorted(periods, key=lambda each: each.effective_from)):
            if earlier.effective_to is None or earlier.effective_to >= later.effective_from:
                raise RuleFileError(f"{name}: two rows are in force on {later.effective_from}")
            if earlier.effective_to + timedelta(days=1) != later.effective_from:
                raise RuleFileError(f"{name}: no row is in force after {earlier.effective_to}")
