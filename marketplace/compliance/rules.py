"""May this deal be made? Pure: a dated rule table and the facts of a deal in, a decision out.

Every row that matches counts and the most severe outcome wins; where no row matches a person decides.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date

UNKNOWN = "unknown"
NO_RULE = "no-rule"


class Outcome(enum.StrEnum):
    """From the mildest to the most severe."""

    ALLOW = "allow"
    HOLD = "hold"
    BLOCK = "block"

    @property
    def severity(self) -> int:
        return list(Outcome).index(self)


class Deal(enum.StrEnum):
    """What is asked for."""

    LEASE = "lease"
    SALE = "sale"


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The facts of one deal: countries as ISO 3166-1 alpha-2, regions as ISO 3166-2, "" where nobody has said it."""

    deal: Deal
    headquarters_country: str
    ultimate_parent_country: str
    intended_use: str
    destination_country: str | None = None  # None: nothing goes anywhere
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table. All of `when` must hold: for each fact one of its values is among the row's."""

    id: str
    when: tuple[tuple[str, frozenset[str]], ...]
    outcome: Outcome
    effective_from: date
    effective_to: date | None
    source: str
    reviewed_by: str
    note: str = ""

    def in_force(self, on: date) -> bool:
        """Whether the day is one of the row's."""
        return self.effective_from <= on and (self.effective_to is None or on <= self.effective_to)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole table; `version` changes with its content."""

    version: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome and every row that matched; the same table, day and inquiry give the same hash and outcome."""

    outcome: Outcome
    rule_ids: tuple[str, ...]
    ruleset_version: str
    input_hash: str


def decide(inquiry: Inquiry, *, on: date, ruleset: Ruleset) -> Decision:
    """The decision on a day (UTC)."""
    facts = facts_of(inquiry)
    matching = [rule for rule in ruleset.rules if rule.in_force(on) and _matches(rule, facts)]
    outcome = max((rule.outcome for rule in matching), key=lambda each: each.severity, default=Outcome.HOLD)
    return Decision(
        outcome=outcome,
        rule_ids=tuple(sorted({rule.id for rule in matching})) or (NO_RULE,),
        ruleset_version=ruleset.version,
        input_hash=input_hash(inquiry, on),
    )


def facts_of(inquiry: Inquiry) -> dict[str, frozenset[str]]:
    """What the conditions of rows are compared with, by the name of the fact."""
    headquarters = _country(inquiry.headquarters_country)
    parent = _country(inquiry.ultimate_parent_country)
    destination = {_country(inquiry.destination_country)} if inquiry.destination_country is not None else set()
    return {
        "deal": frozenset({inquiry.deal.value}),
        "headquarters_country": frozenset({headquarters}),
        "ultimate_parent_country": frozenset({parent}),
        "destination_country": frozenset(destination),
        "any_country": frozenset({headquarters, parent} | destination),
        "any_region": frozenset(region.strip().upper() for region in inquiry.regions),
        "intended_use_word": frozenset(re.findall(r"\w+", inquiry.intended_use.lower())),
    }


def input_hash(inquiry: Inquiry, on: date) -> str:
    """64 hex digits of everything that a decision looked at, besides the table."""
    canonical = json.dumps(inputs_of(inquiry, on), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def inputs_of(inquiry: Inquiry, on: date) -> dict[str, object]:
    """The inquiry and the day as JSON values."""
    values = asdict(inquiry)
    return values | {"deal": inquiry.deal.value, "regions": list(inquiry.regions), "on": on.isoformat()}


def inquiry_from(inputs: Mapping[str, object]) -> tuple[Inquiry, date]:
    """The inverse of `inputs_of`, to decide a stored case again."""
    values = dict(inputs)
    on = date.fromisoformat(str(values.pop("on")))
    regions = values.pop("regions")
    assert isinstance(regions, list)
    return Inquiry(**(values | {"deal": Deal(values["deal"]), "regions": tuple(regions)})), on  # type: ignore[arg-type]


def _country(code: str) -> str:
    code = code.strip().upper()
    return code if re.fullmatch(r"[A-Z]{2}", code) else UNKNOWN


def _matches(rule: Rule, facts: Mapping[str, Iterable[str]]) -> bool:
    return all(accepted.intersection(facts[fact]) for fact, accepted in rule.when)
