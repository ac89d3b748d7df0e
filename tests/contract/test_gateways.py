"""What the calls of every gateway keep to. One that is added gets a Subject here and passes the same tests.

Stripe is the simulator, or Stripe's own test mode where STRIPE_TEST_KEY is set; transfers need an account that has been
onboarded there, STRIPE_TEST_ACCOUNT.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from marketplace.common.ids import new_id
from marketplace.payments.gateway import DepositRequest, GatewayError, Operation, Order, PaymentGateway, Trouble
from marketplace.payments.selectors import STRIPE, WIRE
from tests.stripesim import stripesim

__all__ = ["stripesim"]
REAL = os.environ.get("STRIPE_TEST_KEY", "")
DOLLARS = {"currency": "USD", "amount_micros": 12_340_000}


@dataclass
class Subject:
    """A gateway, and params for an operation of its, fresh ones each time; None where this place can't have any."""

    gateway: PaymentGateway
    params: Callable[[Operation], dict[str, Any] | None]


class StripeSamples:
    """What each operation of Stripe's needs to be there before."""

    def __init__(self, client: stripe.StripeClient, account: str) -> None:
        self.client, self.account = client, account

    def __call__(self, operation: Operation) -> dict[str, Any] | None:
        if operation in {Operation.TRANSFER, Operation.REVERSE_TRANSFER} and not self.account:
            return None
        make: dict[Operation, Callable[[], dict[str, Any]]] = {
            Operation.OPEN_CHECKOUT: lambda: DOLLARS | self._page() | {"deposit_id": new_id("dep"), "title": "Deposit"},
            Operation.CLOSE_CHECKOUT: lambda: {"page_id": self._open_page()},
            Operation.OPEN_CARD_PAGE: lambda: self._page() | {"card_id": new_id("crd"), "name": "A", "currency": "USD"},
            Operation.CHARGE_SAVED: lambda: DOLLARS | self._card() | {"deposit_id": new_id("dep")},
            Operation.OPEN_ACCOUNT: lambda: {"name": "A firm", "country": "US", "firm_id": new_id("firm")},
            Operation.REFUND: lambda: DOLLARS | {"payment_id": self._payment("pm_card_visa")},
            Operation.TRANSFER: self._transfer,
            Operation.REVERSE_TRANSFER: lambda: DOLLARS | {"object_id": self._transferred()},
        }
        return make[operation]() if operation in make else None

    def _page(self) -> dict[str, Any]:
        here = "http://127.0.0.1:8000/"
        return {"success_url": here, "cancel_url": here, "customer_id": ""}

    def _open_page(self) -> str:
        made = order(Operation.OPEN_CHECKOUT, self(Operation.OPEN_CHECKOUT) or {})
        return STRIPE.perform(made).object_id

    def _card(self) -> dict[str, Any]:
        customer = self.client.v1.customers.create({}).id
        method = self.client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
        return {"customer_id": customer, "method_id": method}

    def _payment(self, card: str) -> str:
        given = {"amount": 5_000, "currency": "usd", "payment_method": card, "off_session": True, "confirm": True}
        return self.client.v1.payment_intents.create(given).id

    def _transfer(self) -> dict[str, Any]:
        self._payment("pm_card_bypassPending")
        return DOLLARS | {"transfer_id": new_id("str"), "account_id": self.account}

    def _transferred(self) -> str:
        return STRIPE.perform(order(Operation.TRANSFER, self._transfer())).object_id


@pytest.fixture(params=["wire", "stripe"])
def subject(request, settings) -> Subject:
    settings.CURRENCIES = ["USD", "EUR", "JPY", "KWD"]
    if request.param == "wire":
        return Subject(WIRE, lambda operation: None)
    settings.STRIPE_CURRENCIES = settings.CURRENCIES
    if REAL:
        settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL = REAL, ""
        samples = StripeSamples(stripe.StripeClient(REAL), os.environ.get("STRIPE_TEST_ACCOUNT", ""))
        return Subject(STRIPE, samples)
    sim = request.getfixturevalue("stripesim")
    settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL = "sk_test_fallow", sim.url
    account = sim.client().v1.accounts.create({"country": "US", "capabilities": {"transfers": {"requested": True}}}).id
    sim.sim("onboard", {"account": account})
    return Subject(STRIPE, StripeSamples(sim.client(), account))


def order(operation: Operation, params: dict[str, Any], key: str = "", call_id: str = "") -> Order:
    return Order(call_id or new_id("gwc"), operation, params, key or str(uuid.uuid4()), datetime.now(UTC))


def test_it_says_what_it_takes(subject):
    can = subject.gateway.capabilities()
    assert can.currencies
    assert all(tick > 0 for tick in can.ticks_micros.values())
    assert can.operations <= set(Operation)
    assert can.confirmed_by_operator != (Operation.OPEN_CHECKOUT in can.operations)


def test_how_to_pay_is_the_same_each_time_it_is_asked(subject):
    request = DepositRequest("dep_x", "RF18539007547034", "USD", 12_340_000, "https://pay.example/1")
    told = subject.gateway.start_deposit(request)
    assert told == subject.gateway.start_deposit(request)
    assert told.pay_url or "RF18539007547034" in dict(told.details).values()


def test_what_it_can_not_do_is_refused_for_good_and_found_nowhere(subject):
    for operation in set(Operation) - subject.gateway.capabilities().operations:
        with pytest.raises(GatewayError) as refused:
            subject.gateway.perform(order(operation, {}))
        assert (refused.value.trouble, refused.value.code) == (Trouble.FINAL, "not_supported")
        assert subject.gateway.find(order(operation, {})) is None


def test_the_same_key_twice_is_one_effect_that_is_found_again(subject, tell):
    tried = []
    for operation in sorted(subject.gateway.capabilities().operations):
        params = subject.params(operation)
        if params is None:
            continue
        wanted = order(operation, params)
        if operation != Operation.CLOSE_CHECKOUT:
            assert subject.gateway.find(wanted) is None, operation
        first = subject.gateway.perform(wanted)
        assert subject.gateway.perform(wanted) == first, operation
        assert subject.gateway.find(wanted) == first, operation
        other = order(operation, params)
        if operation not in {Operation.CLOSE_CHECKOUT, Operation.OPEN_ACCOUNT}:
            assert subject.gateway.find(other) is None, operation
        tried.append(str(operation))
    tell(f"the contract was kept by {subject.gateway.name}: {', '.join(tried) or 'no operations'}")


def test_the_same_key_with_other_params_asks_a_person(subject):
    params = subject.params(Operation.REFUND)
    if params is None:
        pytest.skip("this gateway gives nothing back by itself")
    first = order(Operation.REFUND, params)
    subject.gateway.perform(first)
    other = order(Operation.REFUND, params | {"amount_micros": 10_000}, key=first.key, call_id=first.call_id)
    with pytest.raises(GatewayError) as refused:
        subject.gateway.perform(other)
    assert refused.value.trouble is Trouble.ASK


def test_more_than_there_is_does_not_go_back(subject):
    params = subject.params(Operation.REFUND)
    if params is None:
        pytest.skip("this gateway gives nothing back by itself")
    with pytest.raises(GatewayError) as refused:
        subject.gateway.perform(order(Operation.REFUND, params | {"amount_micros": 50_010_000}))
    assert refused.value.trouble is Trouble.FINAL
