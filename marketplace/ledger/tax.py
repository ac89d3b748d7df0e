"""The step that says which tax is due. Fallow brings none: what is owed where is the installation's to know.

`TAX_STEP=package.module:name` names an object with the method of `TaxStep`, or a class of such. It is asked inside
transactions, so it answers from what it has and never calls a service. One that needs a service, such as Stripe Tax,
keeps a table that something else fills (docs/books.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from django.conf import settings
from django.utils.module_loading import import_string

BASIS_POINTS = 10_000


class Kind(StrEnum):
    """What is supplied."""

    CARD = "card"  # goods: the countries are those it ships from and to
    HOURS = "hours"  # a firm's computing to a firm: the countries are where they sit
    FEE = "fee"  # the platform's service to a seller; its own country is PLATFORM_COUNTRY


@dataclass(frozen=True, slots=True)
class Supply:
    """What a tax depends on. Countries are ISO 3166-1 alpha-2."""

    kind: Kind
    from_country: str
    to_country: str


class TaxStep(Protocol):
    """One way to know a tax."""

    def basis_points(self, supply: Supply) -> int:
        """The rate, 0 to 10000 basis points of the price without the tax."""
        ...


class NoTax:
    """The default."""

    def basis_points(self, supply: Supply) -> int:
        """None, whatever it is."""
        return 0


def tax_basis_points(supply: Supply) -> int:
    """What the installation's step says."""
    step: TaxStep = NoTax()
    if settings.TAX_STEP:
        module, _, name = settings.TAX_STEP.partition(":")
        found = import_string(f"{module}.{name}")
        step = found() if isinstance(found, type) else found
    rate = int(step.basis_points(supply))
    assert 0 <= rate <= BASIS_POINTS, "a tax rate is between 0 and 10000 basis points"
    return rate


def contained_micros(amount_micros: int, basis_points: int) -> int:
    """The tax inside of an amount that was charged all in, rounded down."""
    return amount_micros * basis_points // (BASIS_POINTS + basis_points)
