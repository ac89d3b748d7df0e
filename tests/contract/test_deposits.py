"""What comes in through every gateway is booked once and agrees with the outside. A new one gets an Outside here.

Each case runs against the real gateway and the real ledger; behind it stands a bank that writes statements, or Stripe's
simulator.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import pytest

from marketplace.common.errors import Invalid
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Entry, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.inbox import look_at
from marketplace.payments.models import Deposit
from marketplace.payments.selectors import deposit_of, gateway_named, instructions_for
from marketplace.payments.services import cancel_deposit, start_deposit
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import NOON, make_firm
from tests.marketplace.payments.conftest import Here, here
from tests.marketplace.payments.wire.statements import OURS, Paid, camt
from tests.stripesim import stripesim

__all__ = ["here", "stripesim"]
pytestmark = pytest.mark.django_db(transaction=True)
COIN = 1_000_000


class Outside(Protocol):
    """The world behind the gateway `name`."""

    name: str
    currency: str
    now: datetime

    def opened(self) -> None:
        """What was announced can be paid."""
        ...

    def pay(self, deposit: Deposit) -> None:
        """The firm pays exactly what it announced, and Fallow hears of it."""
        ...

    def say_again(self) -> None:
        """Everything that Fallow has heard so far is said to it once more."""
        ...

    def holds_micros(self) -> int:
        """What the platform has there, as the outside itself says."""
        ...


class Bank:
    """One account. Each payment is a statement of its own, and each file also has all that came before."""

    name = "wire"

    def __init__(self, currency: str) -> None:
        self.currency, self.now = currency, NOON
        self.paid: list[Paid] = []
        self.files: list[bytes] = []

    def opened(self) -> None:
        pass

    def pay(self, deposit: Deposit) -> None:
        self.paid.append(Paid(deposit.amount_micros, f"for hours {deposit.reference}"))
        self.files.append(camt(self.paid, currency=self.currency, number=str(len(self.paid))))
        self._say(self.files[-1])

    def say_again(self) -> None:
        for each in self.files:
            self._say(each)

    def holds_micros(self) -> int:
        return sum(each.micros for each in self.paid)

    def _say(self, data: bytes) -> None:
        import_statement(data=data, name="statement.xml", now=NOON)


class Cards:
    """Stripe, which keeps a fee of each payment."""

    name, currency = "stripe", "USD"

    def __init__(self, here: Here) -> None:
        self.here, self.now = here, here.now

    def opened(self) -> None:
        self.here.work()

    def pay(self, deposit: Deposit) -> None:
        self.here.pay(deposit)
        self.here.hear()

    def say_again(self) -> None:
        for page in Deposit.objects.values_list("page_id", flat=True):
            look_at(self.name, "checkout.session", page, now=self.here.now)
        self.here.hear()

    def holds_micros(self) -> int:
        entries = self.here.sim.client().v1.balance_transactions.list({"limit": 100}).data
        return sum(each.net for each in entries) * 10_000


@pytest.fixture(params=["wire USD", "wire EUR", "stripe USD"])
def outside(request, settings) -> Outside:
    name, _, currency = request.param.partition(" ")
    if name == "stripe":
        return Cards(request.getfixturevalue("here"))
    settings.WIRE_IBAN, settings.WIRE_ACCOUNTS = OURS, {}
    return Bank(currency)


def announce(outside, firm, key="k", coins=100):
    deposit, _ = start_deposit(
        firm=firm, currency=outside.currency, amount_micros=coins * COIN, idempotency_key=key, now=outside.now,
        gateway=outside.name,
    )  # fmt: skip
    outside.opened()
    deposit.refresh_from_db()
    return deposit


def in_wallet(outside, firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency=outside.currency)


def of_gateway(outside, kind):
    return balance_micros(firm=None, kind=kind, currency=outside.currency, ref=outside.name)


def test_it_is_found_by_its_name_and_takes_its_currency(outside, settings):
    gateway = gateway_named(outside.name)
    assert gateway.name == outside.name
    assert len(gateway.name) <= 16  # the columns that keep it
    assert outside.currency in gateway.capabilities().currencies
    assert gateway.capabilities().currencies <= set(settings.CURRENCIES)
    assert gateway.capabilities() == gateway.capabilities()


def test_announcing_moves_nothing_and_says_how_to_pay(outside):
    firm = make_firm()
    deposit = announce(outside, firm)
    assert deposit.state == "created"
    assert not Journal.objects.exists()
    first = instructions_for(deposit)
    assert first is not None
    assert first.summary
    assert first == instructions_for(deposit)


def test_the_same_key_is_one_deposit(outside):
    firm = make_firm()
    assert announce(outside, firm) == announce(outside, firm)
    assert Deposit.objects.count() == 1


@pytest.mark.parametrize(("currency", "micros"), [("XXX", 100 * COIN), (None, 1), (None, 0), (None, -COIN)])
def test_what_it_can_not_take_is_refused_and_leaves_nothing(outside, currency, micros):
    with pytest.raises(Invalid):
        start_deposit(
            firm=make_firm(), currency=currency or outside.currency, amount_micros=micros, idempotency_key="k",
            now=outside.now, gateway=outside.name,
        )  # fmt: skip
    assert not Deposit.objects.exists()


def test_what_was_paid_is_in_the_wallet_once_however_often_it_is_said(outside):
    firm = make_firm()
    deposit = announce(outside, firm)
    outside.pay(deposit)
    journals = Journal.objects.count()
    for _ in range(2):
        outside.say_again()
    paid = deposit_of(firm, deposit.public_id)
    assert (paid.state, instructions_for(paid)) == ("confirmed", None)
    assert in_wallet(outside, firm) == 100 * COIN
    assert Journal.objects.count() == journals
    assert Event.objects.filter(firm_id=firm.pk, type="deposit.confirmed").count() == 1


def test_each_deposit_is_its_own_firms(outside):
    firms = [make_firm(), make_firm()]
    deposits = [announce(outside, firm, coins=coins) for firm, coins in zip(firms, (30, 70), strict=True)]
    outside.pay(deposits[1])
    assert [in_wallet(outside, firm) for firm in firms] == [0, 70 * COIN]
    outside.pay(deposits[0])
    assert [in_wallet(outside, firm) for firm in firms] == [30 * COIN, 70 * COIN]


def test_the_ledger_says_what_the_outside_says(outside):
    firm = make_firm()
    for number in range(3):
        outside.pay(announce(outside, firm, key=f"k{number}", coins=10 + number))
        assert -of_gateway(outside, AccountKind.CLEARING) == outside.holds_micros() > 0
    assert in_wallet(outside, firm) == 33 * COIN
    assert sum(Entry.objects.values_list("amount_micros", flat=True)) == 0


def test_money_that_comes_after_a_cancellation_is_not_lost(outside):
    firm = make_firm()
    deposit = announce(outside, firm)
    cancel_deposit(firm=firm, deposit_id=deposit.public_id, now=outside.now)
    outside.pay(deposit)
    kept = in_wallet(outside, firm) + of_gateway(outside, AccountKind.SUSPENSE)
    assert kept == 100 * COIN
    assert kept + of_gateway(outside, AccountKind.GATEWAY_FEE) == outside.holds_micros()
    assert -of_gateway(outside, AccountKind.CLEARING) == outside.holds_micros()
