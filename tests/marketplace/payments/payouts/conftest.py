"""A seller with cleared earnings and a bank account, and operators."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.payouts.services.details import change_bank_details
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.payments.wire.statements import EURO, OURS, THEIRS

LONG_AGO = NOON - timedelta(days=365)
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _bank(settings):
    settings.WIRE_IBAN, settings.WIRE_ACCOUNTS, settings.WIRE_BIC = OURS, {}, "COBADEFFXXX"
    settings.WIRE_ACCOUNT_HOLDER = "Fallow Operations GmbH"
    settings.TWO_PERSON_LIMITS = {"EUR": 1000 * EURO}
    settings.PAYOUT_MINIMUMS = {"EUR": 20 * EURO}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def earn(firm, euros, at=LONG_AGO, currency="EUR"):
    """Something was sold at that time."""
    world = account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref="test")
    earnings = account_for(firm=firm, kind=AccountKind.EARNINGS, currency=currency)
    legs = [Leg(world, -euros * EURO), Leg(earnings, euros * EURO)]
    post(ref=f"earned-{next(_numbers)}", code=Code.SETTLEMENT, legs=legs, now=at)


def name_account(firm, person, account=THEIRS, at=LONG_AGO, holder="Alice GmbH", bic=""):
    """The firm's account at a bank."""
    return change_bank_details(
        firm=firm, person=person, password="correct horse battery", address="192.0.2.1", holder=holder,
        account=account, bic=bic, now=at,
    )  # fmt: skip


@pytest.fixture
def alice(db):
    return make_firm("Alice GmbH")


@pytest.fixture
def owner(alice):
    return make_person(alice)


@pytest.fixture
def details(alice, owner):
    return name_account(alice, owner)


@pytest.fixture
def operator(db):
    return make_person(is_operator=True)


@pytest.fixture
def other_operator(db):
    return make_person(is_operator=True)
