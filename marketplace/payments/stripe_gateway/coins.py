"""Micros of the ledger to the whole numbers that Stripe counts in, and back. Pure, integers only; the only such place.

Source: https://docs.stripe.com/currencies. Its exponents are not always those of ISO 4217: the Icelandic krona and the
Ugandan shilling are sent with two places that must be zero, and the last of three places must be zero as well.
"""

from __future__ import annotations

NO_PLACES = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
THREE_PLACES = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))
WHOLE_ONLY = frozenset(("ISK", "UGX"))  # two places that are always zero
PLACES_USUAL = 2
COIN_MICROS = {0: 1_000_000, 2: 10_000, 3: 1_000}


def places_of(currency: str) -> int:
    """How many decimals Stripe's whole numbers of this currency have."""
    if currency in NO_PLACES:
        return 0
    return 3 if currency in THREE_PLACES else PLACES_USUAL


def tick_micros(currency: str) -> int:
    """The smallest amount that can be charged, refunded or sent, in micros; every amount is a multiple of it."""
    coin = COIN_MICROS[places_of(currency)]
    if currency in THREE_PLACES:
        return 10 * coin
    return 100 * coin if currency in WHOLE_ONLY else coin


def coins(micros: int, currency: str) -> int:
    """Micros as Stripe's whole number; ValueError for what it can't say exactly. Floor first where money goes out."""
    if micros % tick_micros(currency):
        raise ValueError(f"{micros} micros are no whole number of the smallest unit of {currency}")
    return micros // COIN_MICROS[places_of(currency)]


def micros(number: int, currency: str) -> int:
    """Stripe's whole number as micros, always exact."""
    return number * COIN_MICROS[places_of(currency)]


def floored(amount_micros: int, currency: str) -> int:
    """The part of an amount that can go out, in micros; the rest stays on the ledger."""
    return amount_micros - amount_micros % tick_micros(currency)
