"""What a firm is told of a decision about it. Pure.

The outcome, the rows about places and classes of cards, and the papers that these rows ask for. What the screening list
says of a name, how old the list is, and which words of a declared use are read by a person is not told: it would teach
how to word the next attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from marketplace.compliance.rules import Rule, Ruleset

UNTOLD = frozenset({"firm_listed_on", "parent_listed_on", "similar_name_on", "screening_list", "intended_use_word"})


def is_told(rule: Rule) -> bool:
    """Whether a firm may know that this row matched."""
    return not any(fact in UNTOLD for fact, _ in (*rule.when, *rule.unless))


def told_rows(rule_ids: Iterable[str], ruleset: Ruleset, on: date) -> tuple[Rule, ...]:
    """Of the rows that matched on a day, those that the firm is told about."""
    return tuple(rule for rule in _rows(rule_ids, ruleset, on) if is_told(rule))


def told_reason(decided_by: Iterable[str], ruleset: Ruleset, on: date) -> str:
    """The first row that decided and may be told; "" where there is none."""
    return next((rule.id for rule in told_rows(decided_by, ruleset, on)), "")


def _rows(rule_ids: Iterable[str], ruleset: Ruleset, on: date) -> Iterator[Rule]:
    for rule_id in rule_ids:
        if rule := ruleset.row(rule_id, on):
            yield rule
