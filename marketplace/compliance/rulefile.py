"""Reads a rule table from YAML; a malformed one is refused with the row and what is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from marketplace.compliance.rules import UNKNOWN, Deal, Inquiry, Outcome, Rule, Ruleset, facts_of

RULES_FILE = Path(__file__).parent / "tables" / "rules.yaml"
FACTS = frozenset(facts_of(Inquiry(Deal.LEASE, "", "", "")))
REQUIRED = frozenset({"id", "when", "outcome", "effective_from", "source", "reviewed_by"})
OPTIONAL = frozenset({"effective_to", "note"})
RULE_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VALUE_SHAPES = {
    "country": re.compile(rf"[A-Z]{{2}}|{UNKNOWN}"),
    "region": re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}"),
    "word": re.compile(r"\w+"),
    "deal": re.compile("|".join(Deal)),
}


class RuleFileError(ValueError):
    """The rule file is malformed; no rule of it may be used."""


def read_ruleset(text: str) -> Ruleset:
    """The table of a YAML text. Its version is the file's own with a digest of the content behind it."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-30
        raise RuleFileError(f"not YAML: {error}") from error
    if not isinstance(document, dict) or set(document) != {"version", "rules"}:
        raise RuleFileError("the file has a version and rules, and nothing else")
    version, rows = document["version"], document["rules"]
    if not isinstance(version, str) or not version or not isinstance(rows, list) or not rows:
        raise RuleFileError("version is a text, rules is a list with at least one row")
    rules = tuple(_rule(number, row) for number, row in enumerate(rows, start=1))
    _check_periods(rules)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Ruleset(version=f"{version}+{digest}", rules=rules)


def _rule(number: int, row: Any) -> Rule:
    if not isinstance(row, dict):
        raise RuleFileError(f"row {number} is not a mapping")
    where = f"row {number} ({row.get('id', 'without id')})"
    if missing := sorted(REQUIRED - set(row)):
        raise RuleFileError(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(str(key) for key in set(row) - REQUIRED - OPTIONAL):
        raise RuleFileError(f"{where} has the unknown key {', '.join(unknown)}")
    try:
        return _build(row)
    except ValueError as error:
        raise RuleFileError(f"{where}: {error}") from error


def _build(row: Mapping[str, Any]) -> Rule:
    first, last = _day(row, "effective_from"), _day(row, "effective_to") if row.get("effective_to") else None
    if last is not None and last < first:
        raise ValueError("effective_to is before effective_from")
    return Rule(
        id=_shaped(row["id"], RULE_ID, "id"),
        when=_conditions(row["when"]),
        outcome=_outcome(row["outcome"]),
        effective_from=first,
        effective_to=last,
        source=_text(row, "source"),
        reviewed_by=_text(row, "reviewed_by"),
        note=_text(row, "note") if "note" in row else "",
    )


def _outcome(value: Any) -> Outcome:
    if value not in list(Outcome):
        raise ValueError(f"outcome {value!r} is none of {', '.join(Outcome)}")
    return Outcome(value)


def _day(row: Mapping[str, Any], key: str) -> date:
    if type(row[key]) is not date:
        raise ValueError(f"{key} is not a day such as 2026-11-24")
    return row[key]  # type: ignore[no-any-return]


def _text(row: Mapping[str, Any], key: str) -> str:
    if not isinstance(row[key], str) or not row[key].strip():
        raise ValueError(f"{key} is empty")
    return row[key]  # type: ignore[no-any-return]


def _conditions(value: Any) -> tuple[tuple[str, frozenset[str]], ...]:
    if not isinstance(value, dict) or not value:
        raise ValueError("when needs at least one condition")
    if unknown := sorted(str(fact) for fact in set(value) - FACTS):
        raise ValueError(f"there is no fact {', '.join(unknown)}")
    return tuple((fact, _accepted(fact, value[fact])) for fact in sorted(value))


def _accepted(fact: str, values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not values:
        raise ValueError(f"{fact} needs a list of values")
    shape = VALUE_SHAPES[fact.rsplit("_", 1)[-1]]
    return frozenset(_shaped(each, shape, fact) for each in values)


def _shaped(value: Any, shape: re.Pattern[str], what: str) -> str:
    # YAML reads NO (Norway) as false and 09 as text or a number: a value that is no text is a mistake.
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise ValueError(f"{value!r} is not a value of {what}; put it in quotes if YAML reads it as something else")
    return value


def _check_periods(rules: Iterable[Rule]) -> None:
    """Rows of one id follow each other day after day."""
    by_id: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        by_id[rule.id].append(rule)
    for rule_id, rows in by_id.items():
        for earlier, later in pairwise(sorted(rows, key=lambda row: row.effective_from)):
            if earlier.effective_to is None or earlier.effective_to >= later.effective_from:
                raise RuleFileError(f"{rule_id}: two rows are in force on {later.effective_from}")
            if earlier.effective_to + timedelta(days=1) != later.effective_from:
                raise RuleFileError(f"{rule_id}: no row is in force after {earlier.effective_to}")
