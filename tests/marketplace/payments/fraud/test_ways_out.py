"""Money leaves a wallet only to where it came from: a card's to that card, a wire's by nobody's wish."""

from __future__ import annotations

import pytest

from marketplace.common.errors import Conflict
from marketplace.ledger.models import Account, AccountKind, Entry
from marketplace.ledger.selectors import balance_micros
from marketplace.ledger.services import InsufficientFunds
from marketplace.payments.payouts.services.asking import request_payout
from marketplace.payments.refunds import refund_deposit, returnable_micros
from marketplace.payments.services import confirm_deposit, start_deposit
from tests.factories import make_firm, make_person
from tests.marketplace.payments.fraud.conftest import DOLLAR
from tests.marketplace.payments.payouts.conftest import name_account
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)


def back(here, deposit, micros, key="r"):
    return refund_deposit(
        firm=deposit.firm, deposit_id=deposit.public_id, amount_micros=micros, key=key, now=here.now, actor="test"
    )[0]


def wired(here, firm, micros):
    deposit, _ = start_deposit(firm=firm, currency="USD", amount_micros=micros, idempotency_key="wire", now=here.now)
    return confirm_deposit(operator=make_person(is_operator=True), deposit_id=deposit.public_id, now=here.now)


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def test_a_card_gets_no_more_back_than_is_left_of_its_own_money(here, money):
    firm = make_firm()
    first, second = here.paid(firm, 60 * DOLLAR, key="1"), here.paid(firm, 60 * DOLLAR, key="2")
    wired(here, firm, 500 * DOLLAR)
    money.hold(firm, "ord_1", 100 * DOLLAR, here.now)
    assert (returnable_micros(first, here.now), returnable_micros(second, here.now)) == (0, 20 * DOLLAR)
    for deposit, micros in ((first, DOLLAR), (second, 21 * DOLLAR)):
        with pytest.raises(InsufficientFunds, match="of this deposit is left in the wallet"):
            back(here, deposit, micros, key=deposit.public_id)
    page = browser(make_person(firm)).get(url("deposit", second.public_id)).content.decode()
    assert "20.00" in page
    back(here, second, 20 * DOLLAR, key="r2")
    assert in_wallet(firm) == 500 * DOLLAR
    money.release(firm, "ord_1", 100 * DOLLAR, here.now)
    assert (returnable_micros(first, here.now), returnable_micros(second, here.now)) == (60 * DOLLAR, 40 * DOLLAR)
    here.work()
    (there,) = here.sim.client().v1.refunds.list({}).data
    assert there.payment_intent == second.payment_id


def test_a_refund_takes_its_own_deposits_money_and_leaves_the_others(here):
    firm = make_firm()
    first, second = here.paid(firm, 60 * DOLLAR, key="1"), here.paid(firm, 60 * DOLLAR, key="2")
    back(here, second, 60 * DOLLAR)
    assert (returnable_micros(first, here.now), returnable_micros(second, here.now)) == (60 * DOLLAR, 0)


def test_neither_a_payout_nor_the_refund_of_a_wire_takes_money_out_of_a_wallet(here, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STRIPE_SELLER_COUNTRIES = []
    firm = make_firm()
    name_account(firm, make_person(firm))
    here.paid(firm, 100 * DOLLAR)
    wire = wired(here, firm, 100 * DOLLAR)
    with pytest.raises(Conflict) as refused:
        back(here, wire, DOLLAR)
    assert refused.value.code == "not_refundable"
    with pytest.raises(Conflict, match=r"0\.00 USD are free"):
        request_payout(firm=firm, currency="USD", amount_micros=100 * DOLLAR, idempotency_key="pay", now=here.now)
    assert in_wallet(firm) == 200 * DOLLAR


def test_what_goes_from_a_wallet_to_the_outside_is_the_refund_of_a_deposit(here, money):
    """Whatever else took from a wallet moved it to another account of a firm."""
    firm, seller = make_firm(), make_firm()
    deposit = here.paid(firm, 100 * DOLLAR)
    money.hold(firm, "ord_1", 30 * DOLLAR, here.now)
    money.settle(firm, "ord_1", seller, 30 * DOLLAR, here.now)
    refund = back(here, deposit, 50 * DOLLAR)
    here.work()
    here.hear()
    leaving = Account.objects.filter(firm=firm, kind=AccountKind.PAYOUT)
    assert [account.ref for account in leaving] == [refund.public_id]
    taken = Entry.objects.filter(account__kind=AccountKind.WALLET, amount_micros__lt=0).values("journal")
    beside = Entry.objects.filter(journal__in=taken, amount_micros__gt=0).values_list("account__kind", flat=True)
    assert sorted(set(beside)) == ["escrow", "payout"]
