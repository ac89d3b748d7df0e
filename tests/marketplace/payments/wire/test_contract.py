"""The wire gateway keeps the contract of every gateway; a bank that writes statements stands behind it."""

from __future__ import annotations

import pytest

from marketplace.payments.models import Deposit
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import NOON
from tests.marketplace.payments.contract import GatewayContract
from tests.marketplace.payments.wire.statements import Paid, camt

pytestmark = pytest.mark.django_db


class Bank:
    """One account. Each payment is a statement of its own, and each file also has all that came before."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.paid: list[Paid] = []
        self.files: list[bytes] = []

    def pay(self, deposit: Deposit) -> None:
        self.paid.append(Paid(deposit.amount_micros, f"for hours {deposit.reference}"))
        self.files.append(camt(self.paid, currency=self.currency, number=str(len(self.paid))))
        self._say(self.files[-1])

    def say_again(self) -> None:
        for each in self.files:
            self._say(each)

    def holds_micros(self, currency: str) -> int:
        return sum(each.micros for each in self.paid) if currency == self.currency else 0

    def _say(self, data: bytes) -> None:
        import_statement(data=data, name="statement.xml", now=NOON)


class TestWire(GatewayContract):
    name = "wire"

    @pytest.fixture
    def outside(self) -> Bank:
        return Bank(self.currency)


class TestWireInAnotherCurrency(TestWire):
    currency = "EUR"
