"""The platform's bank account, and people around it."""

from __future__ import annotations

import pytest

from marketplace.payments.services import start_deposit
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.payments.wire.statements import EURO, OURS


@pytest.fixture(autouse=True)
def _bank(settings) -> None:
    settings.WIRE_IBAN, settings.WIRE_ACCOUNTS = "DE89 3704 0044 0532 0130 00", {}
    settings.TWO_PERSON_LIMITS = {"EUR": 1000 * EURO}
    assert settings.WIRE_IBAN.replace(" ", "") == OURS


@pytest.fixture
def alice(db):
    return make_firm("Alice GmbH")


@pytest.fixture
def operator(db):
    return make_person(is_operator=True)


@pytest.fixture
def other_operator(db):
    return make_person(is_operator=True)


@pytest.fixture
def announce(alice):
    """Announce a deposit of whole euros."""
    keys = iter(range(10**6))

    def make(euros=100, firm=None, currency="EUR"):
        return start_deposit(
            firm=firm or alice,
            currency=currency,
            amount_micros=euros * EURO,
            idempotency_key=f"k{next(keys)}",
            now=NOON,
        )[0]

    return make
