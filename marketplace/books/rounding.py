"""What an amount is in the smallest coin, and what that leaves out. Pure, integers only.

The ledger counts micros; a bank and an invoice count coins. The places of a currency are those of ISO 4217.
"""

from __future__ import annotations

from dataclasses import dataclass

MICROS_PLACES = 6
NO_PLACES = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())  # noqa: SIM905
THREE_PLACES = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905  # a list of words is read more easily
PLACES_USUAL = 2


@dataclass(frozen=True, slots=True)
class Rounded:
    """An amount in coins, in micros, and what rounding added; the exact amount is the one less the other."""

    micros: int
    difference_micros: int
    places: int


def places_of(currency: str) -> int:
    """How many decimals the currency's coins have."""
    if currency in NO_PLACES:
        return 0
    return 3 if currency in THREE_PLACES else PLACES_USUAL


def rounded(micros: int, currency: str) -> Rounded:
    """To the nearest coin, a half away from zero."""
    places = places_of(currency)
    coin = 10 ** (MICROS_PLACES - places)
    whole = (abs(micros) + coin // 2) // coin * coin
    coins = -whole if micros < 0 else whole
    return Rounded(micros=coins, difference_micros=coins - micros, places=places)
