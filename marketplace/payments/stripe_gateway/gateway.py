"""The gateway. What it does is in `calls.py`; what Stripe says, in our words, in `facts.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings

from marketplace.payments.gateway import (
    BookEntry,
    Capabilities,
    DepositRequest,
    GatewayError,
    Holding,
    Instructions,
    Notice,
    Order,
    Receipt,
    Trouble,
)
from marketplace.payments.stripe_gateway import books
from marketplace.payments.stripe_gateway.accounts import onboarding_url
from marketplace.payments.stripe_gateway.calls import CALLS
from marketplace.payments.stripe_gateway.client import client, told_as_ours
from marketplace.payments.stripe_gateway.coins import tick_micros
from marketplace.payments.stripe_gateway.facts import FACTS
from marketplace.payments.stripe_gateway.notices import listed, verified


class StripeGateway:
    """Cards by Stripe's hosted pages; separate charges and transfers, the platform is the merchant of record."""

    name = "stripe"

    def capabilities(self) -> Capabilities:
        """STRIPE_CURRENCIES, in the units that Stripe counts in."""
        ticks = {each: tick_micros(each) for each in settings.STRIPE_CURRENCIES}
        return Capabilities(ticks, confirmed_by_operator=False, operations=frozenset(CALLS))

    def start_deposit(self, request: DepositRequest) -> Instructions:
        """The page to pay on, once the outbox has opened it."""
        if not request.pay_url:
            return Instructions("The payment page is being opened; this takes a moment.", ())
        return Instructions("Pay by card on Stripe's page.", (), request.pay_url)

    def perform(self, order: Order) -> Receipt:
        """One request. Raises GatewayError."""
        if order.operation not in CALLS:
            raise GatewayError(Trouble.FINAL, f"Stripe knows no {order.operation}", code="not_supported")
        with told_as_ours():
            return CALLS[order.operation].request(client(), order)

    def find(self, order: Order) -> Receipt | None:
        """What an earlier attempt made. Raises GatewayError."""
        if order.operation not in CALLS:
            return None
        with told_as_ours():
            return CALLS[order.operation].look(client(), order)

    def notice(self, body: bytes, signature: str, *, now: datetime) -> Notice:
        """The event of a signed request. Raises GatewayError for one that Stripe did not sign, or not lately."""
        return verified(body, signature, now=now)

    def notices_since(self, since: datetime) -> Iterator[Notice]:
        """The platform's events since then, newest first. Raises GatewayError."""
        with told_as_ours():
            yield from listed(client(), since)

    def fetch(self, object_type: str, object_id: str, account: str) -> Mapping[str, Any] | None:
        """What the thing is now; None for what nothing here depends on, as payments of a seller's own account.

        Raises GatewayError.
        """
        if object_type not in FACTS or (account and object_type != "account"):
            return None
        with told_as_ours():
            return FACTS[object_type](client(), object_id)

    def onboarding_url(self, account_id: str, *, refresh_url: str, return_url: str) -> str:
        """A link to the form of a seller's account, made for one click. Raises GatewayError."""
        with told_as_ours():
            return onboarding_url(client(), account_id, refresh_url=refresh_url, return_url=return_url)

    def holdings(self) -> Mapping[str, Holding]:
        """Stripe's balance of the platform. Raises GatewayError."""
        with told_as_ours():
            return books.holdings(client())

    def entries(self, since: datetime | None, after: str) -> tuple[Sequence[BookEntry], str]:
        """A page of balance transactions, newest first. Raises GatewayError."""
        with told_as_ours():
            return books.entries(client(), since, after)

    def parts_of(self, payout_id: str) -> Sequence[str] | None:
        """The balance transactions of an automatic payout. Raises GatewayError."""
        with told_as_ours():
            return books.parts_of(client(), payout_id)
