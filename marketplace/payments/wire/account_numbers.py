"""Numbers of bank accounts. Pure.

IBAN: ISO 13616, whose check is ISO 7064's modulo 97 over the number with its first four characters moved behind it.
BIC: ISO 9362. A country's own length of an IBAN is not checked: a wrong length does not pass the modulo by itself.
"""

from __future__ import annotations

import re

_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_OTHER = re.compile(r"[A-Z0-9]{4,34}")
_BIC = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
# Where a euro payment is a SEPA one: EPC409-09, the list of the scheme's countries.
SEPA = frozenset(
    """
    AD AL AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MC MD ME MK MT NL NO PL PT RO RS SE SI SK
    SM VA
    """.split()  # noqa: SIM905  # forty words are read more easily than forty strings
)


def compact(text: str) -> str:
    """A number without the blanks and dashes that people write, in capitals."""
    return re.sub(r"[\s-]", "", text).upper()


def looks_like_iban(number: str) -> bool:
    """Whether it has an IBAN's shape, right or wrong."""
    return bool(re.match(r"[A-Z]{2}\d{2}[A-Z0-9]", number)) and len(number) >= 15


def is_iban(number: str) -> bool:
    """Whether the check digits fit."""
    return (
        bool(_IBAN.fullmatch(number)) and int("".join(str(int(each, 36)) for each in number[4:] + number[:4])) % 97 == 1
    )


def is_other(number: str) -> bool:
    """Whether it can be an account's number where there are no IBANs."""
    return bool(_OTHER.fullmatch(number)) and not looks_like_iban(number)


def is_bic(code: str) -> bool:
    """Whether it has a BIC's shape."""
    return bool(_BIC.fullmatch(code))


def masked(number: str) -> str:
    """What people may see of it: the country and the last four characters."""
    head = number[:2] if looks_like_iban(number) else ""
    return f"{head}…{number[-4:]}"
