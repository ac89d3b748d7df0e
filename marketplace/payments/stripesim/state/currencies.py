"""Currencies: their smallest units, the least and most that can be charged, and the simulator's prices.

Sources: https://docs.stripe.com/currencies (zero-decimal, three-decimal, minimum and maximum charge amounts).
"""

from __future__ import annotations

from marketplace.payments.stripesim.protocol.errors import ApiError, invalid

ZERO_DECIMAL = frozenset((
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
))  # fmt: skip
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
TWO_DECIMAL = frozenset((
    "aed", "aud", "brl", "cad", "chf", "cny", "czk", "dkk", "eur", "gbp", "hkd", "huf", "inr", "mxn", "myr", "nok",
    "nzd", "pln", "ron", "sek", "sgd", "thb", "usd",
))  # fmt: skip
MINIMUM = {
    "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400,
    "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200,
    "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip
MAXIMUM = 99_999_999
RATE_BPS = 290
FOREIGN_RATE_BPS = 150
DISPUTE_FEE_MAJOR = 15
FIXED_FEE_MAJOR_PERCENT = 30
UNITS = {0: 1, 2: 100, 3: 1_000}


def exponent(currency: str) -> int:
    """Digits behind the point."""
    return 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2


def check_currency(currency: str) -> str:
    """The currency in lower case; raises for one that nobody can be charged in."""
    lower = currency.lower()
    if lower not in ZERO_DECIMAL | THREE_DECIMAL | TWO_DECIMAL:
        raise invalid(f"Invalid currency: {lower}.", param="currency")
    return lower


def check_amount(amount: int, currency: str) -> None:
    """Raises Stripe's refusals for amounts that can't be charged. `amount` is in the currency's smallest unit."""
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.", param="amount", code="parameter_invalid_integer"
        )
    if amount > MAXIMUM:
        raise invalid(f"Amount must be no more than {MAXIMUM}", param="amount", code="amount_too_large")
    if currency in THREE_DECIMAL and amount % 10:
        raise invalid(
            f"Amounts in {currency} must be a multiple of 10: the last digit has to be 0.",
            param="amount", code="invalid_charge_amount",
        )  # fmt: skip
    if amount < MINIMUM.get(currency, 1):
        raise too_small(currency)


def too_small(currency: str) -> ApiError:
    """The refusal of an amount below the currency's minimum."""
    least = MINIMUM[currency]
    digits = exponent(currency)
    shown = f"{least / 10**digits:.{digits}f}"
    message = f"Amount must be at least {shown} {currency}"
    return invalid(message, param="amount", code="amount_too_small")


def processing_fee(amount: int, currency: str, *, foreign: bool) -> int:
    """The simulator's price, half up. Nobody should compute it again: it is on the balance transaction."""
    rate = RATE_BPS + (FOREIGN_RATE_BPS if foreign else 0)
    fixed = FIXED_FEE_MAJOR_PERCENT * UNITS[exponent(currency)] // 100
    return min(amount, (amount * rate + 5_000) // 10_000 + fixed)


def dispute_fee(currency: str) -> int:
    """What a dispute costs whoever wins."""
    return DISPUTE_FEE_MAJOR * UNITS[exponent(currency)]
