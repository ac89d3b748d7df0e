"""Money is integer micros of a currency: 1 USD = 1 000 000. No float ever."""

from __future__ import annotations

import re
from dataclasses import dataclass

MICROS = 1_000_000
PRICE_TICK_MICROS = 1_000  # a price per GPU-hour is a multiple of 0.001
AMOUNT_MICROS_MAX = 10**15  # a thousand million of the currency: below every integer limit on the way

_DECIMAL = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency."""

    amount_micros: int
    currency: str

    def __str__(self) -> str:
        return f"{format_micros(self.amount_micros)} {self.currency}"


def parse_micros(text: str) -> int:
    """Micros from a decimal string with at most six places; ValueError for anything else, such as NaN or 1e9."""
    found = _DECIMAL.fullmatch(text)
    if not found:
        raise ValueError("an amount is a decimal number with at most six places, such as 12.345678")
    sign, whole, fraction = found.groups()
    micros = int(whole) * MICROS + int((fraction or "").ljust(6, "0"))
    if micros > AMOUNT_MICROS_MAX:
        raise ValueError("the amount is too large")
    return -micros if sign else micros


def format_micros(micros: int, places: int = 6) -> str:
    """A decimal string, exact when `places` is six and rounded towards zero otherwise."""
    sign = "-" if micros < 0 else ""
    whole, fraction = divmod(abs(micros), MICROS)
    text = f"{sign}{whole}.{fraction:06d}"
    return text[: len(text) - 6 + places].rstrip(".")
