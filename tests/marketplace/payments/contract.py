"""What every gateway must do, whatever is behind it. A gateway's own tests subclass `GatewayContract`.

Each case runs against the real gateway and the real ledger; `Outside` is what stands behind the gateway in the test: a
bank that writes statements, or Stripe's simulator.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from marketplace.common.errors import Invalid
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Entry, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Deposit
from marketplace.payments.selectors import deposit_of, gateway_named, instructions_for
from marketplace.payments.services import cancel_deposit, start_deposit
from tests.factories import NOON, make_firm

COIN = 1_000_000


class Outside(Protocol):
    """The world behind a gateway."""

    def pay(self, deposit: Deposit) -> None:
        """The firm pays exactly what it announced, and Fallow hears of it."""
        ...

    def say_again(self) -> None:
        """Everything that Fallow has heard so far is said to it once more."""
        ...

    def holds_micros(self, currency: str) -> int:
        """What the platform has there, as the outside itself says."""
        ...


class GatewayContract:
    """The cases. A subclass has `name`, `currency` and a fixture `outside`."""

    name: str
    currency: str = "USD"

    def announce(self, firm, key="k", coins=100):
        return start_deposit(
            firm=firm, currency=self.currency, amount_micros=coins * COIN, idempotency_key=key, now=NOON,
            gateway=self.name,
        )[0]  # fmt: skip

    def in_wallet(self, firm):
        return balance_micros(firm=firm, kind=AccountKind.WALLET, currency=self.currency)

    def clearing(self):
        return balance_micros(firm=None, kind=AccountKind.CLEARING, currency=self.currency, ref=self.name)

    def test_it_is_found_by_its_name_and_takes_its_currency(self, outside, settings):
        gateway = gateway_named(self.name)
        assert gateway.name == self.name
        assert len(self.name) <= 16  # the columns that keep it
        assert self.currency in gateway.capabilities().currencies
        assert gateway.capabilities().currencies <= set(settings.CURRENCIES)
        assert gateway.capabilities() == gateway.capabilities()

    def test_announcing_moves_nothing_and_says_how_to_pay(self, outside):
        firm = make_firm()
        deposit = self.announce(firm)
        assert (deposit.state, self.in_wallet(firm), self.clearing()) == ("created", 0, 0)
        first = instructions_for(deposit)
        assert first is not None
        assert first.summary
        assert first == instructions_for(deposit)

    def test_the_same_key_is_one_deposit(self, outside):
        firm = make_firm()
        assert self.announce(firm) == self.announce(firm)
        assert Deposit.objects.count() == 1

    @pytest.mark.parametrize(("currency", "micros"), [("XXX", 100 * COIN), (None, 1), (None, 0), (None, -COIN)])
    def test_what_it_can_not_take_is_refused_and_leaves_nothing(self, outside, currency, micros):
        with pytest.raises(Invalid):
            start_deposit(
                firm=make_firm(), currency=currency or self.currency, amount_micros=micros, idempotency_key="k",
                now=NOON, gateway=self.name,
            )  # fmt: skip
        assert not Deposit.objects.exists()

    def test_what_was_paid_is_in_the_wallet_once_however_often_it_is_said(self, outside):
        firm = make_firm()
        deposit = self.announce(firm)
        outside.pay(deposit)
        journals = Journal.objects.count()
        for _ in range(2):
            outside.say_again()
        paid = deposit_of(firm, deposit.public_id)
        assert (paid.state, instructions_for(paid)) == ("confirmed", None)
        assert self.in_wallet(firm) == 100 * COIN
        assert Journal.objects.count() == journals
        assert Event.objects.filter(firm_id=firm.pk, type="deposit.confirmed").count() == 1

    def test_each_deposit_is_its_own_firms(self, outside):
        firms = [make_firm(), make_firm()]
        deposits = [self.announce(firm, coins=coins) for firm, coins in zip(firms, (30, 70), strict=True)]
        outside.pay(deposits[1])
        assert [self.in_wallet(firm) for firm in firms] == [0, 70 * COIN]
        outside.pay(deposits[0])
        assert [self.in_wallet(firm) for firm in firms] == [30 * COIN, 70 * COIN]

    def test_the_ledger_says_what_the_outside_says(self, outside):
        firm = make_firm()
        for number in range(3):
            outside.pay(self.announce(firm, key=f"k{number}", coins=10 + number))
            assert -self.clearing() == outside.holds_micros(self.currency)
        assert sum(Entry.objects.values_list("amount_micros", flat=True)) == 0

    def test_money_that_comes_after_a_cancellation_is_not_lost(self, outside):
        firm = make_firm()
        deposit = self.announce(firm)
        cancel_deposit(firm=firm, deposit_id=deposit.public_id, now=NOON)
        outside.pay(deposit)
        suspense = balance_micros(firm=None, kind=AccountKind.SUSPENSE, currency=self.currency, ref=self.name)
        assert self.in_wallet(firm) + suspense == outside.holds_micros(self.currency)
        assert -self.clearing() == outside.holds_micros(self.currency)
