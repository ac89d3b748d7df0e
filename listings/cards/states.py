"""What a card listing says of its cards beside the price: grades, flags, photos and where it ships from."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import models

from listings.states import LISTING_TRANSITIONS, ListingState

# A listing that is sold out opens again when a sale of it is cancelled; nothing else opens a closed one.
CARD_LISTING_TRANSITIONS: Mapping[str, frozenset[str]] = {
    **LISTING_TRANSITIONS,
    ListingState.CLOSED: frozenset({ListingState.OPEN}),
}
FUNCTION_GRADES = ("F0", "F1", "F2", "F3", "FX")  # best first; FX means that nothing is known


class FunctionGrade(models.TextChoices):
    """How a card works, from its passport."""

    F0 = "F0", "Measured by a lab, all passed"
    F1 = "F1", "Measured by the seller, all passed"
    F2 = "F2", "Works with disclosed limits"
    F3 = "F3", "Faulty, for parts"
    FX = "FX", "Not measured"


class AppearanceGrade(models.TextChoices):
    """How a card looks: the seller's word, with photos."""

    PREMIUM = "premium", "No signs of use"
    EXCELLENT = "excellent", "Signs of use not visible from 20 cm"
    GOOD = "good", "Signs of use not visible from 50 cm"
    FAIR = "fair", "Visible scratches or dents"


class Flag(models.TextChoices):
    """What a buyer must be told. `memory_mod` can't be left out of a modified card's listing."""

    MEMORY_MOD = "memory_mod", "Memory modified"
    REBUILT_PCB = "rebuilt_pcb", "On a rebuilt board"
    BLOWER_SWAP = "blower_swap", "Cooler swapped"
    REPASTED = "repasted", "New thermal paste"
    NO_WARRANTY = "no_warranty", "No maker's warranty"
    EX_MINING = "ex_mining_declared", "Was used for mining"
    NO_SERIAL = "no_serial", "Reports no serial number"
    EXPORT_HOLD = "export_hold", "An operator looks at the export first"


class PhotoKind(models.TextChoices):
    """What a photo shows. `code` is the card beside the listing's code, written by hand."""

    FRONT = "front", "Front"
    BACK = "back", "Back"
    EDGE = "edge", "Connector edge"
    LABEL = "label", "Label"
    CODE = "code", "With the code"


EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
ZONE_LENGTH_MAX = 8


def zone_of(country: str) -> str:
    """The ship-from zone of a country: `eu` for the customs union's members, else the country itself."""
    return "eu" if country in EU.split() else country.lower()


def worst_grade(grades: list[str]) -> str:
    """The grade of a lot is that of its worst card."""
    return max(grades, key=FUNCTION_GRADES.index, default=FunctionGrade.FX)


def is_as_good(grade: str, least: str) -> bool:
    """Whether `grade` is `least` or better."""
    return FUNCTION_GRADES.index(grade) <= FUNCTION_GRADES.index(least)
