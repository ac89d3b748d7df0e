"""Which class of the export rules a card falls in, and how we know. Pure; not a legal classification.

The maker's own ECCN leads where it is known; otherwise the class follows from TPP (dense rate × bit length) and
performance density (TPP per mm²). What is close to a limit, or was rebuilt, is unknown until a person clears it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from decimal import Decimal

MARGIN = Decimal("0.03")  # closer than this to a limit, our figures decide nothing
TPP_ANY = Decimal(4800)  # 3A090.a, whatever the card is designed for
TPP_DATACENTRE = Decimal(1600)  # the floor of every density test
TPP_MIDDLE = Decimal(2400)  # 3A090.b, first limb
DENSITY_HIGH, DENSITY_MIDDLE, DENSITY_LOW = Decimal("5.92"), Decimal("3.2"), Decimal("1.6")
TPP_FAST = Decimal(64)  # 3A991.p begins at 8 tera-operations of 8 bits
LIMITS = tuple(str(limit) for limit in (MARGIN, TPP_ANY, TPP_DATACENTRE, TPP_MIDDLE, TPP_FAST)) + tuple(
    str(limit) for limit in (DENSITY_HIGH, DENSITY_MIDDLE, DENSITY_LOW)
)
ECCN = re.compile(r"(?P<number>\d[A-E]\d{3})(?:\.(?P<paragraph>[a-z])(?:\.\d+)*)?|EAR99")
MIB_PER_GIB = 1024


class ItemClass(enum.StrEnum):
    """From the most controlled to the least; the ECCN of a chip, and of a board or system."""

    A_DC = "a_dc"  # 3A090.a / 4A090.a, for datacentres
    A_NDC = "a_ndc"  # 3A090.a / 4A090.a, not for datacentres
    B = "b"  # 3A090.b / 4A090.b
    P = "p"  # 3A991.p / 4A994.l
    NONE = "none"  # slower, or EAR99
    UNKNOWN = "unknown"


class Basis(enum.StrEnum):
    """How the class is known."""

    CLEARANCE = "clearance"
    VENDOR = "vendor"
    COMPUTED = "computed"


@dataclass(frozen=True, slots=True)
class Item:
    """What is sold, as export rules see it. None and "" where nobody has said it."""

    slug: str
    tpp: int | None
    performance_density: Decimal | None
    designed_for_datacentre: bool | None
    vendor_eccn: str
    is_borderline: bool
    is_modified: bool
    as_rebuilt_for_datacentre: bool
    memory_gib: int | None = None

    @property
    def sku(self) -> tuple[str, int | None, bool]:
        """What a clearance is for; the last says whether it is not as it left the factory, as a rebuilt card is not."""
        return self.slug, self.memory_gib, self.is_modified or self.as_rebuilt_for_datacentre


@dataclass(frozen=True, slots=True)
class Classification:
    """A class, how it is known, and the reason in words."""

    item_class: ItemClass
    basis: Basis
    reason: str


def classify(item: Item, *, cleared_as: ItemClass | None = None) -> Classification:
    """The class of an item; `cleared_as` is what a person has found about this SKU, which leads."""
    if cleared_as is not None:
        return Classification(cleared_as, Basis.CLEARANCE, "an operator has cleared this SKU")
    if item.as_rebuilt_for_datacentre:
        return _unknown("it is rebuilt for datacentres, which may bring it under the density limits")
    if item.vendor_eccn and not item.is_modified:
        return _by_vendor(item)
    if item.is_borderline or near_a_limit(item):
        return _unknown("its figures are within 3 % of a limit")
    if item.is_modified and _differs_for_datacentre(item):
        return _unknown("it was modified, and if that was for datacentres it is of another class")
    return _computed(item)


def _differs_for_datacentre(item: Item) -> bool:
    """Whether the same figures in a card for datacentres have another class, and a rebuild may be for them."""
    for_it = replace(item, designed_for_datacentre=True)
    return near_a_limit(for_it) or _computed(for_it).item_class is not _computed(item).item_class


def near_a_limit(item: Item) -> bool:
    """Whether a figure that decides is within 3 % of a limit."""
    if item.tpp is None:
        return False
    if not item.designed_for_datacentre:
        return _near(Decimal(item.tpp), TPP_ANY)
    density = item.performance_density
    return any(_near(Decimal(item.tpp), limit) for limit in (TPP_DATACENTRE, TPP_MIDDLE, TPP_ANY)) or (
        density is not None and any(_near(density, limit) for limit in (DENSITY_LOW, DENSITY_MIDDLE, DENSITY_HIGH))
    )


def is_eccn(text: str) -> bool:
    """Whether it has the form of an ECCN."""
    return ECCN.fullmatch(text) is not None


def memory_gib(memory_mib: int | None) -> int | None:
    """Measured memory as the size that people call it: 49 140 MiB is a 48 GB card."""
    return None if memory_mib is None else round(memory_mib / MIB_PER_GIB)


def _near(value: Decimal, limit: Decimal) -> bool:
    return abs(value - limit) <= limit * MARGIN


def _unknown(reason: str, basis: Basis = Basis.COMPUTED) -> Classification:
    return Classification(ItemClass.UNKNOWN, basis, reason)


def _by_vendor(item: Item) -> Classification:
    found = _class_of_eccn(item.vendor_eccn, item.designed_for_datacentre)
    if found is ItemClass.UNKNOWN:
        return _unknown(f"the maker's ECCN {item.vendor_eccn} does not say which class it is", Basis.VENDOR)
    return Classification(found, Basis.VENDOR, f"the maker says {item.vendor_eccn}")


def _class_of_eccn(eccn: str, for_datacentre: bool | None) -> ItemClass:
    parts = ECCN.fullmatch(eccn)
    if parts is None:
        return ItemClass.UNKNOWN
    number, paragraph = parts["number"], parts["paragraph"]
    if number in {"3A090", "4A090"}:
        if paragraph == "a" and for_datacentre is not None:
            return ItemClass.A_DC if for_datacentre else ItemClass.A_NDC
        return ItemClass.B if paragraph == "b" else ItemClass.UNKNOWN
    if (number, paragraph) in {("3A991", "p"), ("4A994", "l")}:
        return ItemClass.P
    # Paragraph z of other numbers means: it also meets 3A090, without saying a or b.
    slower = number is None or (number in {"3A991", "4A994", "5A992"} and paragraph != "z")
    return ItemClass.NONE if slower else ItemClass.UNKNOWN


def _computed(item: Item) -> Classification:
    if item.tpp is None or item.designed_for_datacentre is None:
        return _unknown("its TPP or what it is designed for is not known")
    tpp, density = Decimal(item.tpp), item.performance_density
    if not item.designed_for_datacentre:
        found = ItemClass.A_NDC if tpp >= TPP_ANY else _uncontrolled(tpp)
    elif tpp >= TPP_ANY:
        found = ItemClass.A_DC
    elif tpp < TPP_DATACENTRE:
        found = _uncontrolled(tpp)
    elif density is None:
        return _unknown("its performance density is not known")
    else:
        found = _by_density(tpp, density)
    made_for = "datacentres" if item.designed_for_datacentre else "other places than datacentres"
    return Classification(found, Basis.COMPUTED, f"TPP {item.tpp}, density {density}, designed for {made_for}")


def _by_density(tpp: Decimal, density: Decimal) -> ItemClass:
    """From 1600 to 4800 the density decides."""
    if density >= DENSITY_HIGH:
        return ItemClass.A_DC
    if density >= DENSITY_MIDDLE or (tpp >= TPP_MIDDLE and density >= DENSITY_LOW):
        return ItemClass.B
    return ItemClass.P


def _uncontrolled(tpp: Decimal) -> ItemClass:
    return ItemClass.P if tpp >= TPP_FAST else ItemClass.NONE
