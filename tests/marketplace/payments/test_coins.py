"""Micros and Stripe's whole numbers, against decimal arithmetic."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.payments.stripe_gateway.coins import coins, floored, micros, tick_micros

PLACES = {"USD": 2, "EUR": 2, "CNY": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "ISK": 2, "UGX": 2}
STEPS = {"JPY": "1", "KRW": "1", "KWD": "0.01", "BHD": "0.01", "ISK": "1", "UGX": "1"}  # others have 0.01
CURRENCIES = st.sampled_from(sorted(PLACES))
AMOUNTS = st.integers(0, 10**15)


@pytest.mark.parametrize(
    ("amount", "currency", "number"),
    [
        ("12.34", "USD", 1234), ("500", "JPY", 500), ("5.12", "KWD", 5120), ("5", "UGX", 500), ("7", "ISK", 700),
    ],
)  # fmt: skip
def test_the_numbers_of_the_documentation(amount, currency, number):
    """https://docs.stripe.com/currencies"""
    assert coins(int(Decimal(amount) * 10**6), currency) == number
    assert micros(number, currency) == int(Decimal(amount) * 10**6)


@given(AMOUNTS, CURRENCIES)
def test_there_and_back_is_the_same_amount(amount, currency):
    out = floored(amount, currency)
    assert micros(coins(out, currency), currency) == out


@given(AMOUNTS, CURRENCIES)
def test_what_is_sent_is_the_decimal_amount_and_no_more(amount, currency):
    step = Decimal(STEPS.get(currency, "0.01"))
    sendable = (Decimal(amount) / 10**6) // step * step
    assert floored(amount, currency) == int(sendable * 10**6)
    assert coins(floored(amount, currency), currency) == int(sendable * 10 ** PLACES[currency])


@given(AMOUNTS, CURRENCIES)
def test_what_can_not_be_said_exactly_is_refused(amount, currency):
    if amount % tick_micros(currency):
        with pytest.raises(ValueError, match="no whole number"):
            coins(amount, currency)
