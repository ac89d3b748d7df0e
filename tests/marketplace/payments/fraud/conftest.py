"""Buyers, sellers and the moves of money between them, posted as the apps above post them."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import Deposit
from marketplace.payments.reference import new_reference
from tests.factories import NOON, make_firm
from tests.marketplace.payments.conftest import here, receiver, stripesim

__all__ = ["here", "receiver", "stripesim"]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DOLLAR = 1_000_000
_numbers = itertools.count(1)


class Money:
    """Moves of one currency."""

    def account(self, firm, kind, ref="", currency="USD"):
        return account_for(firm=firm, kind=kind, currency=currency, ref=ref)

    def move(self, code, subject, at, *legs):
        legs = [Leg(account, micros) for account, micros in legs]
        post(ref=f"money:{next(_numbers)}", code=code, legs=legs, subject=subject, now=at)

    def card(self, firm, micros, at, fingerprint=""):
        """A deposit by card, as `card_deposits` books it."""
        deposit = Deposit.objects.create(
            firm=firm, currency="USD", amount_micros=micros, gateway="stripe", reference=new_reference(),
            state="confirmed", created_at=at, confirmed_at=at, expires_at=at, payment_id="pi_x",
            card_fingerprint=fingerprint,
        )  # fmt: skip
        outside = self.account(None, AccountKind.CLEARING, "stripe")
        fee = self.account(None, AccountKind.GATEWAY_FEE, "stripe")
        wallet = self.account(firm, AccountKind.WALLET)
        self.move(Code.DEPOSIT, deposit.public_id, at, (outside, 3 - micros), (fee, -3), (wallet, micros))
        return deposit

    def wire(self, firm, micros, at):
        outside = self.account(None, AccountKind.CLEARING, "wire")
        self.move(Code.DEPOSIT, "dep_wire", at, (outside, -micros), (self.account(firm, AccountKind.WALLET), micros))

    def hold(self, firm, order, micros, at):
        wallet, escrow = self.account(firm, AccountKind.WALLET), self.account(firm, AccountKind.ESCROW, order)
        self.move(Code.ORDER_ESCROW, order, at, (wallet, -micros), (escrow, micros))

    def release(self, firm, order, micros, at):
        wallet, escrow = self.account(firm, AccountKind.WALLET), self.account(firm, AccountKind.ESCROW, order)
        self.move(Code.ESCROW_RELEASE, order, at, (escrow, -micros), (wallet, micros))

    def settle(self, firm, order, seller, micros, at, fee=0, lease="lse_x"):
        legs = [(self.account(firm, AccountKind.ESCROW, order), -micros)]
        legs.append((self.account(seller, AccountKind.EARNINGS), micros - fee))
        legs.append((self.account(None, AccountKind.PLATFORM_FEE), fee))
        self.move(Code.SETTLEMENT, lease, at, *legs)

    def credit(self, payer, firm, micros, at):
        wallets = [(self.account(payer, AccountKind.WALLET), -micros), (self.account(firm, AccountKind.WALLET), micros)]
        self.move(Code.CANCELLATION_CREDIT, "sale_x", at, *wallets)


@pytest.fixture
def money():
    return Money()


@pytest.fixture
def buyer(db):
    return make_firm("Buyer")


@pytest.fixture
def seller(db):
    return make_firm("Seller")


@pytest.fixture
def season(settings):
    settings.CARD_SEASON_DAYS, settings.EARNINGS_CLEAR_DAYS = 30, 7
    return NOON
