"""May this deal be made? Pure: a dated rule table and the facts of a deal in, a decision out.

Every row that matches counts and the most severe outcome wins; where no row matches a person decides.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from marketplace.compliance.facts import Facts, facts_of
from marketplace.compliance.inquiry import Inquiry, Ruled, input_hash
from marketplace.compliance.items import LIMITS

NO_RULE = "no-rule"
REFUSED = "operator-refused"


class Outcome(enum.StrEnum):
    """From the mildest to the most severe."""

    ALLOW = "allow"
    HOLD = "hold"
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return list(Outcome).index(self)


@dataclass(frozen=True, slots=True)
class Period:
    """First and last day, both included; without the last it holds until changed."""

    effective_from: date
    effective_to: date | None = None

    def in_force(self, on: date) -> bool:
        """Whether the day is one of them."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)


Conditions = tuple[tuple[str, frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. All of `when` must hold and none of `unless`: one of a fact's values is among the row's."""

    id: str
    when: Conditions
    outcome: Outcome
    period: Period
    source: str
    reviewed_by: str
    note: str = ""
    unless: Conditions = ()
    documents: tuple[str, ...] = ()
    clearable: bool = True  # whether an operator's ruling on one case lifts a hold

    @property
    def says(self) -> tuple[object, ...]:
        """What it does, without its days and who answers for it: equal for two rows that decide alike."""
        conditions = tuple((fact, tuple(sorted(values))) for part in (self.when, self.unless) for fact, values in part)
        return self.id, len(self.when), conditions, self.outcome.value, self.documents, self.clearable

    @property
    def asks_for_class(self) -> bool:
        """Whether the class of the card matters to it."""
        return any(fact == "item_class" for fact, _ in (*self.when, *self.unless))


@dataclass(frozen=True, slots=True)
class Dated:
    """A country group, a switch or a maker's ECCN, for some days."""

    name: str
    values: frozenset[str]
    period: Period
    source: str
    reviewed_by: str


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole table; `version` changes with its content. A toggle is on while its values are not empty."""

    version: str
    rules: tuple[Rule, ...]
    groups: tuple[Dated, ...] = ()
    toggles: tuple[Dated, ...] = ()
    eccns: tuple[Dated, ...] = ()
    documents: tuple[tuple[str, str], ...] = ()

    def groups_on(self, on: date) -> dict[str, frozenset[str]]:
        """The countries of each group on a day."""
        return {each.name: each.values for each in self.groups if each.period.in_force(on)}

    def toggles_on(self, on: date) -> frozenset[str]:
        """The names of the switches that are on."""
        return frozenset(each.name for each in self.toggles if each.values and each.period.in_force(on))

    def eccn_of(self, slug: str, on: date) -> str:
        """What the maker says about a model, "" where the table does not know."""
        found = (each.values for each in self.eccns if each.name == slug and each.period.in_force(on))
        return next(iter(next(found, ())), "")

    def class_digest(self, slug: str, on: date) -> str:
        """16 hex digits of what gives a class its meaning on a day: the limits, the rows that ask for one, the ECCN.

        A clearance of the SKU holds while they are the same, whether a file or a date changes them.
        """
        rows = sorted(repr(rule.says) for rule in self.rules if rule.period.in_force(on) and rule.asks_for_class)
        return hashlib.sha256(repr((LIMITS, rows, self.eccn_of(slug, on))).encode()).hexdigest()[:16]

    def row(self, rule_id: str, on: date) -> Rule | None:
        """The row of this id that is in force on a day."""
        return next((rule for rule in self.rules if rule.id == rule_id and rule.period.in_force(on)), None)

    def facts(self, inquiry: Inquiry, on: date) -> Facts:
        """The facts of a deal under this table on a day."""
        return facts_of(inquiry, groups=self.groups_on(on), toggles=self.toggles_on(on))


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, every row that matched and those that decided; the same table, day and inquiry give the same."""

    outcome: Outcome
    rule_ids: tuple[str, ...]
    ruleset_version: str
    input_hash: str
    required_documents: tuple[str, ...] = ()
    decided_by: tuple[str, ...] = ()


def decide(inquiry: Inquiry, *, on: date, ruleset: Ruleset) -> Decision:
    """The decision on a day (UTC)."""
    facts = ruleset.facts(inquiry, on)
    matching = [rule for rule in ruleset.rules if rule.period.in_force(on) and matches(rule, facts)]
    outcomes = _outcomes(matching, inquiry.ruled)
    outcome = max(outcomes.values(), key=lambda each: each.severity)
    return Decision(
        outcome=outcome,
        rule_ids=tuple(sorted(outcomes)),
        ruleset_version=ruleset.version,
        input_hash=input_hash(inquiry, on),
        required_documents=tuple(sorted({code for rule in matching for code in rule.documents})),
        decided_by=tuple(sorted(rule_id for rule_id, each in outcomes.items() if each is outcome)),
    )


def matches(rule: Rule, facts: Mapping[str, Iterable[str]]) -> bool:
    """Whether the row is about a deal with these facts."""
    return all(accepted.intersection(facts[fact]) for fact, accepted in rule.when) and not any(
        accepted.intersection(facts[fact]) for fact, accepted in rule.unless
    )


def _outcomes(matching: list[Rule], ruled: Ruled | None) -> dict[str, Outcome]:
    """What each row says once a ruling has lifted the holds that it may lift; a block is never lifted."""
    cleared = frozenset(ruled.rule_ids) if ruled and ruled.outcome == Outcome.ALLOW else frozenset()
    outcomes: dict[str, Outcome] = {}
    for rule in matching:
        is_lifted = rule.outcome is Outcome.HOLD and rule.clearable and rule.id in cleared
        outcome = Outcome.ALLOW if is_lifted else rule.outcome
        outcomes[rule.id] = max(outcome, outcomes.get(rule.id, outcome), key=lambda each: each.severity)
    if not matching:
        outcomes[NO_RULE] = Outcome.ALLOW if NO_RULE in cleared else Outcome.HOLD
    if ruled and ruled.outcome == Outcome.BLOCK:
        outcomes[REFUSED] = Outcome.BLOCK
    return outcomes
