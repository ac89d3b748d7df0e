"""The facts of one deal that a decision looks at, as values and as JSON. Pure.

What a field's default says is left out of the JSON: a record that was made before the field existed keeps its hash.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any

from marketplace.compliance.items import Basis, Classification, Item, ItemClass


class Deal(enum.StrEnum):
    """What is asked for."""

    LEASE = "lease"
    SALE = "sale"


class Stage(enum.StrEnum):
    """When it is asked: a sale at each of its three, a lease at its own."""

    LEASE = "lease"
    ORDER = "order"
    PAYMENT = "payment"
    SHIPPING = "shipping"


class ListState(enum.StrEnum):
    """How old the screening list is."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Match:
    """A name of a party that stands, or nearly stands, on the screening list."""

    firm: str  # public id
    role: str  # firm or parent
    name: str  # as the firm has it
    entry: str  # the list's key of the entry
    digest: str  # of the entry's names, so that a changed entry is looked at anew
    source: str  # code of the list, such as EL
    listed_name: str
    score: int  # 0 to 100
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Screening:
    """What the list says of all parties; without the matches that a person has found false."""

    state: ListState
    list_id: str = ""
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Party:
    """Where a firm and its ultimate parent have their headquarters."""

    firm: str
    headquarters_country: str
    ultimate_parent_country: str


@dataclass(frozen=True, slots=True)
class Ruled:
    """What an operator has ruled on the same case at the same stage."""

    id: str
    outcome: str  # allow or block
    rule_ids: tuple[str, ...]  # the rows that were looked at


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The facts of one deal: countries as ISO 3166-1 alpha-2, regions as ISO 3166-2, "" where nobody has said it.

    The first countries are the buyer's.
    """

    deal: Deal
    headquarters_country: str
    ultimate_parent_country: str
    intended_use: str
    destination_country: str | None = None  # None: nothing goes anywhere
    regions: tuple[str, ...] = ()
    stage: Stage = Stage.LEASE
    seller: Party | None = None
    origin_country: str | None = None
    item: Item | None = None
    classification: Classification | None = None
    clearance: str = ""  # the SKU clearance that gave the class
    screening: Screening | None = None
    documents_on_file: tuple[str, ...] = ()
    ruled: Ruled | None = None
    lab: Party | None = None  # who gets the card on its way, to measure it
    lab_country: str | None = None  # and where


ALWAYS = frozenset(
    {"deal", "headquarters_country", "ultimate_parent_country", "intended_use", "destination_country", "regions"}
)
DEFAULTS = {field.name: field.default for field in fields(Inquiry) if field.name not in ALWAYS}
# What may change between two looks at the same case.
VOLATILE = frozenset({"on", "ruled", "documents_on_file"})


def inputs_of(inquiry: Inquiry, on: date) -> dict[str, Any]:
    """The inquiry and the day as JSON values."""
    changed = [name for name, default in DEFAULTS.items() if getattr(inquiry, name) != default]
    values = asdict(inquiry)
    kept = {name: _json(values[name]) for name in [*sorted(ALWAYS), *changed]}
    return kept | {"on": on.isoformat()}


def inquiry_from(inputs: Mapping[str, Any]) -> tuple[Inquiry, date]:
    """The inverse of `inputs_of`, to decide a stored case again."""
    values = dict(inputs)
    on = date.fromisoformat(str(values.pop("on")))
    return Inquiry(**{name: READERS.get(name, _same)(value) for name, value in values.items()}), on


def input_hash(inquiry: Inquiry, on: date) -> str:
    """64 hex digits of everything that a decision looked at, besides the table."""
    return _digest(inputs_of(inquiry, on))


def case_hash(inquiry: Inquiry) -> str:
    """64 hex digits of the case alone: the day, the list's age, documents and rulings do not count."""
    inputs = inputs_of(inquiry, date.min)
    case = {name: value for name, value in inputs.items() if name not in VOLATILE}
    if "screening" in case:
        case["screening"] = case["screening"]["matches"]
    return _digest(case)


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _json(value: Any) -> Any:
    match value:
        case enum.Enum():
            return value.value
        case Decimal():
            return str(value)
        case Mapping():
            return {name: _json(each) for name, each in value.items()}
        case list() | tuple():
            return [_json(each) for each in value]
    return value


def _same(value: Any) -> Any:
    return value


def _item(value: Any) -> Item:
    density = value["performance_density"]
    return Item(**(value | {"performance_density": None if density is None else Decimal(density)}))


def _classification(value: Any) -> Classification:
    return Classification(ItemClass(value["item_class"]), Basis(value["basis"]), value["reason"])


def _screening(value: Any) -> Screening:
    return Screening(ListState(value["state"]), value["list_id"], tuple(Match(**each) for each in value["matches"]))


def _ruled(value: Any) -> Ruled:
    return Ruled(value["id"], value["outcome"], tuple(value["rule_ids"]))


READERS: dict[str, Any] = {
    "deal": Deal,
    "stage": Stage,
    "regions": tuple,
    "documents_on_file": tuple,
    "seller": lambda value: Party(**value),
    "lab": lambda value: Party(**value),
    "item": _item,
    "classification": _classification,
    "screening": _screening,
    "ruled": _ruled,
}
