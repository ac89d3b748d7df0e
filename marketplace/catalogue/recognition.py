"""Which catalogue model a card is, from what NVML measured. Pure: no database, no clock.

The PCI device id weighs most because it is fused or strapped on the board; the name comes from the driver and the
memory from the board's firmware. NVML's total is a little below the nominal size (firmware keeps some, ECC on GDDR6
takes a sixteenth), so a size fits when the total is 92 % to 100.5 % of it: bounds measured on factory cards.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

FIT_LOWEST_PERMILLE = 920
FIT_HIGHEST_PERMILLE = 1005
SEEN_TOLERANCE_MIB = 64
UNLISTED_PREFIX = "unlisted-"
SLUG_LENGTH_MAX = 80
MIB_PER_GIB = 1024
PCI_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")


class Kind(enum.StrEnum):
    """What the card is compared with the factory's own."""

    FACTORY = "factory"
    MODIFIED = "modified"
    UNLISTED = "unlisted"


class Confidence(enum.StrEnum):
    """How sure the slug is. CERTAIN: id and name agree. LIKELY: something is unsaid. DOUBTFUL: something disagrees."""

    CERTAIN = "certain"
    LIKELY = "likely"
    DOUBTFUL = "doubtful"


class Reason(enum.StrEnum):
    """Why the answer is not simply a certain factory card."""

    PCI_ID_MISSING = "pci_id_missing"
    PCI_ID_MALFORMED = "pci_id_malformed"
    PCI_ID_NOT_LISTED = "pci_id_not_listed"
    NAME_NOT_LISTED = "name_not_listed"
    NAME_CONTRADICTS_PCI_ID = "name_contradicts_pci_id"
    MEMORY_NOT_MEASURED = "memory_not_measured"
    MEMORY_NOT_KNOWN = "memory_not_known"
    MEMORY_ABOVE_FACTORY = "memory_above_factory"
    MEMORY_BELOW_FACTORY = "memory_below_factory"
    SEVERAL_MODELS_POSSIBLE = "several_models_possible"


DOUBTS = frozenset(
    {
        Reason.PCI_ID_MALFORMED,
        Reason.PCI_ID_NOT_LISTED,
        Reason.NAME_CONTRADICTS_PCI_ID,
        Reason.SEVERAL_MODELS_POSSIBLE,
    }
)
MEASURED_REASONS = frozenset({Reason.MEMORY_ABOVE_FACTORY, Reason.MEMORY_BELOW_FACTORY})


class MeasuredCard(Protocol):
    """What is needed of a card's identity; the agent's `CardIdentity` has it. `pci_device_id` is "vvvv:dddd"."""

    @property
    def name(self) -> str: ...
    @property
    def memory_total_mib(self) -> int: ...
    @property
    def pci_device_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class FactoryModel:
    """A catalogue model as recognition sees it; the first of `names` is NVML's. Sizes are nominal, totals measured."""

    slug: str
    names: tuple[str, ...]
    pci_device_ids: frozenset[str] = frozenset()
    memory_sizes_mib: tuple[int, ...] = ()
    nvml_totals_mib: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """`slug` is the factory model, the base of a modified card, or a made-up `unlisted-…` one."""

    slug: str
    kind: Kind
    confidence: Confidence
    reasons: tuple[Reason, ...] = ()


def match_card(card: MeasuredCard, models: Iterable[FactoryModel]) -> Recognition:
    """The model of a card; never raises, whatever the host says of itself."""
    candidates, reasons = _candidates(card, tuple(models))
    if not candidates:
        return _unlisted(card, reasons)
    if card.memory_total_mib <= 0:
        return _factory(candidates, [*reasons, Reason.MEMORY_NOT_MEASURED])
    fitting = _fitting(candidates, card.memory_total_mib)
    if fitting:
        return _factory(fitting, reasons)
    sized = [model for model in candidates if model.memory_sizes_mib]
    if not sized:
        return _factory(candidates, [*reasons, Reason.MEMORY_NOT_KNOWN])
    if Reason.PCI_ID_NOT_LISTED in reasons:  # neither the id nor the memory speaks for the name
        return _unlisted(card, reasons)
    return _modified(sized, card.memory_total_mib, reasons)


def unlisted_slug(name: str, memory_total_mib: int) -> str:
    """A slug for a card that the catalogue does not have, from its name and its memory rounded to GiB."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_name.lower()).strip("-") or "unknown"
    size = f"-{round(memory_total_mib / MIB_PER_GIB)}gb" if memory_total_mib > 0 else ""
    room = SLUG_LENGTH_MAX - len(UNLISTED_PREFIX) - len(size)
    return f"{UNLISTED_PREFIX}{words[:room].strip('-')}{size}"


def name_key(name: str) -> str:
    """Names are compared without case, doubled spaces and the maker's name, which drivers put in and leave out."""
    return " ".join(name.lower().split()).removeprefix("nvidia ")


def _candidates(card: MeasuredCard, models: Sequence[FactoryModel]) -> tuple[list[FactoryModel], list[Reason]]:
    device_id = (card.pci_device_id or "").lower()
    by_name = [model for model in models if name_key(card.name) in {name_key(name) for name in model.names}]
    by_id = [model for model in models if device_id in model.pci_device_ids]
    both = [model for model in by_id if model in by_name]
    if both:
        return both, []
    if by_id:
        return by_id, [Reason.NAME_CONTRADICTS_PCI_ID if by_name else Reason.NAME_NOT_LISTED]
    return by_name, _reasons_without_id(device_id, named=bool(by_name))


def _reasons_without_id(device_id: str, *, named: bool) -> list[Reason]:
    name_reasons = [] if named else [Reason.NAME_NOT_LISTED]
    if not device_id:
        return [Reason.PCI_ID_MISSING, *name_reasons]
    well_formed = PCI_ID.fullmatch(device_id)
    return [Reason.PCI_ID_NOT_LISTED if well_formed else Reason.PCI_ID_MALFORMED, *name_reasons]


def _fitting(models: Iterable[FactoryModel], total_mib: int) -> list[FactoryModel]:
    """The models that are closest to the total among those that it fits."""
    distances = [(distance, model) for model in models if (distance := _distance(model, total_mib)) is not None]
    closest = min((distance for distance, _ in distances), default=None)
    return [model for distance, model in distances if distance == closest]


def _distance(model: FactoryModel, total_mib: int) -> int | None:
    seen = [abs(total_mib - each) for each in model.nvml_totals_mib if abs(total_mib - each) <= SEEN_TOLERANCE_MIB]
    nominal = [abs(total_mib - size) for size in model.memory_sizes_mib if _fits(size, total_mib)]
    return min(seen + nominal, default=None)


def _fits(size_mib: int, total_mib: int) -> bool:
    return size_mib * FIT_LOWEST_PERMILLE <= total_mib * 1000 <= size_mib * FIT_HIGHEST_PERMILLE


def _factory(models: Sequence[FactoryModel], reasons: Sequence[Reason]) -> Recognition:
    slug = min(model.slug for model in models)
    return _recognition(slug, Kind.FACTORY, [*reasons, *_ambiguity(models)])


def _modified(models: Sequence[FactoryModel], total_mib: int, reasons: Sequence[Reason]) -> Recognition:
    """The base is the largest factory size below the total, or the smallest there is."""
    below = [model for model in models if min(model.memory_sizes_mib) <= total_mib]
    if below:
        base = max(below, key=lambda model: (max(model.memory_sizes_mib), model.slug))
    else:
        base = min(models, key=lambda model: (min(model.memory_sizes_mib), model.slug))
    why = Reason.MEMORY_ABOVE_FACTORY if below else Reason.MEMORY_BELOW_FACTORY
    return _recognition(base.slug, Kind.MODIFIED, [*reasons, *_ambiguity(models), why])


def _unlisted(card: MeasuredCard, reasons: Sequence[Reason]) -> Recognition:
    slug = unlisted_slug(card.name, card.memory_total_mib)
    return Recognition(slug, Kind.UNLISTED, Confidence.DOUBTFUL, tuple(reasons))


def _ambiguity(models: Sequence[FactoryModel]) -> list[Reason]:
    return [Reason.SEVERAL_MODELS_POSSIBLE] if len(models) > 1 else []


def _recognition(slug: str, kind: Kind, reasons: Sequence[Reason]) -> Recognition:
    if DOUBTS.intersection(reasons):
        confidence = Confidence.DOUBTFUL
    else:
        confidence = Confidence.LIKELY if set(reasons) - MEASURED_REASONS else Confidence.CERTAIN
    return Recognition(slug, kind, confidence, tuple(reasons))
