"""Payouts through the pages: a seller asks, operators send, the seller sees."""

from datetime import timedelta

import pytest
from django.urls import reverse

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import BankDetails, Payout, PayoutFile, StatementLine
from marketplace.payments.wire.services.booking import decide_line
from marketplace.payments.wire.services.importing import import_statement
from marketplace.storefront.displays import due_words
from tests.factories import make_person
from tests.marketplace.payments.payouts.conftest import earn
from tests.marketplace.payments.wire.statements import EURO, OURS, THEIRS, Paid, camt
from tests.storefront import PASSWORD

pytestmark = pytest.mark.django_db
DETAILS = {"holder": "Alice GmbH", "account": THEIRS, "bic": "", "password": PASSWORD}


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture(autouse=True)
def _bank(settings):
    settings.WIRE_IBAN, settings.TWO_PERSON_LIMITS = OURS, {"USD": 1000 * EURO}


@pytest.fixture
def seller(client, scene):
    """Somebody with cleared earnings and an account in force."""
    client.force_login(scene.seller)
    earn(scene.market.alice, 5000, currency="USD", at=scene.market.clock.now() - timedelta(days=200))
    client.post(url("bank-details"), DETAILS)
    BankDetails.objects.update(usable_at=scene.market.clock.now())
    return client


def ask(client, amount, key="k"):
    return client.post(url("payouts"), {"amount": amount, "currency": "USD", "key": key}, follow=True).content.decode()


def earnings(scene):
    return balance_micros(firm=scene.market.alice, kind=AccountKind.EARNINGS, currency="USD")


def test_a_seller_asks_and_can_take_it_back(seller, scene):
    before = earnings(scene)
    assert "Asked for: an operator" in ask(seller, "60.00")
    ask(seller, "60.00")
    payout = Payout.objects.get()
    assert before - earnings(scene) == 60 * EURO
    assert "On its way to your bank" in seller.get(url("wallet")).content.decode()
    assert "are free" in ask(seller, "999999", key="k2")
    assert "At least 20.00 USD" in ask(seller, "1", key="k3")
    seller.post(url("payout-cancel", payout.public_id))
    assert earnings(scene) == before
    assert "Cancelled by firm" in seller.get(url("payouts")).content.decode()


def test_a_new_account_is_told_to_everybody_of_the_firm_and_an_owner_takes_it_back(seller, client, scene):
    wrong = seller.post(url("bank-details"), DETAILS | {"account": OURS, "password": "guess"})
    assert wrong.status_code == 422
    assert "not your password" in wrong.content.decode() or "This is not it" in wrong.content.decode()
    assert "check digits" in seller.post(url("bank-details"), DETAILS | {"account": OURS[:-1] + "9"}).content.decode()
    seller.post(url("bank-details"), DETAILS | {"account": OURS})
    held = BankDetails.objects.latest("pk")
    viewer = make_person(scene.market.alice, "viewer")
    client.force_login(viewer)
    shown = client.get(url("payouts")).content.decode()
    assert "Another bank account was named" in shown
    assert "take it back" not in shown
    assert client.post(url("bank-details-withdraw", held.public_id)).status_code == 403
    assert client.post(url("bank-details"), DETAILS).status_code == 422
    client.force_login(scene.buyer)
    assert client.post(url("bank-details-withdraw", held.public_id)).status_code == 404
    client.force_login(scene.seller)
    client.post(url("bank-details-withdraw", held.public_id))
    assert "Another bank account" not in client.get(url("payouts")).content.decode()


def test_operators_approve_and_take_the_file(seller, client, scene):
    ask(seller, "1500.00")
    payout = Payout.objects.get()
    rule = url("payout-rule", payout.public_id)
    client.force_login(scene.operator)
    assert "Payouts: 1 asked for" in client.get(url("operator")).content.decode()
    assert "another operator must too" in client.post(rule, {"ruling": "approve"}, follow=True).content.decode()
    assert "1 more needed" in client.get(url("operator-payouts")).content.decode()
    assert "Another operator must" in client.post(rule, {"ruling": "approve"}, follow=True).content.decode()
    client.force_login(make_person(is_operator=True))
    assert "Approved." in client.post(rule, {"ruling": "approve"}, follow=True).content.decode()
    order = {"currency": "USD", "key": "f"}
    assert "take it to the bank" in client.post(url("payouts-order"), order, follow=True).content.decode()
    client.post(url("payouts-order"), order)
    file = PayoutFile.objects.get()
    answer = client.post(url("payout-file", file.public_id))
    assert answer["Content-Type"] == "application/xml"
    assert payout.reference in answer.content.decode()
    shown = client.get(url("operator-payouts")).content.decode()
    assert payout.reference in shown
    assert THEIRS not in shown
    before = earnings(scene)
    failed = {"ruling": "failed", "reason": "account closed", "key": "x"}
    assert "another must agree" in client.post(rule, failed, follow=True).content.decode()
    assert earnings(scene) == before
    assert "A payout that the bank did not make" in client.get(url("operator-bank")).content.decode()


def test_a_payout_is_rejected_with_a_reason(seller, client, scene):
    ask(seller, "60.00")
    rule = url("payout-rule", Payout.objects.get().public_id)
    client.force_login(scene.operator)
    client.post(rule, {"ruling": "reject"})
    assert Payout.objects.get().state == "created"
    client.post(rule, {"ruling": "nonsense"})
    client.post(rule, {"ruling": "reject", "reason": "the name differs"})
    assert Payout.objects.get().state == "failed"


def test_the_operators_payouts_exist_for_operators_alone(seller, scene, client):
    ask(seller, "60.00")
    payout = Payout.objects.get()
    for path in (url("payout-rule", payout.public_id), url("payouts-order"), url("payout-file", "pfl_x")):
        assert seller.post(path, {"ruling": "approve"}).status_code == 404
    assert seller.get(url("operator-payouts")).status_code == 404
    client.force_login(scene.buyer)
    client.post(url("payout-cancel", payout.public_id))
    assert Payout.objects.get().state == "created"


def test_money_that_is_disputed_is_seen_in_the_wallet_and_has_a_statement(client, scene):
    bob = scene.market.bob
    legs = [
        Leg(account_for(firm=bob, kind=AccountKind.WALLET, currency="USD"), -7 * EURO),
        Leg(account_for(firm=bob, kind=AccountKind.FROZEN, currency="USD", ref="dsp_1"), 7 * EURO),
    ]
    client.force_login(scene.buyer)
    assert "Frozen for" not in client.get(url("wallet")).content.decode()
    post(ref="frozen", code=Code.DISPUTE, legs=legs, subject="dsp_1", now=scene.market.clock.now())
    assert "Frozen for" in client.get(url("wallet")).content.decode()
    shown = client.get(url("statement"), {"account": "frozen"}).content.decode()
    assert "Payment disputed" in shown
    assert "7.00 USD" in shown


def test_how_long_a_new_account_is_held_is_said_as_it_is_set(seller, settings):
    settings.BANK_DETAILS_HOLD_HOURS = 24
    assert "held for 24 hours" in seller.get(url("bank-details")).content.decode()
    seller.post(url("bank-details"), DETAILS | {"account": OURS})
    assert "Another bank account was named" in seller.get(url("payouts")).content.decode()


def test_the_first_account_is_no_other_one(client, scene):
    client.force_login(scene.seller)
    client.post(url("bank-details"), DETAILS)
    assert "A bank account was named" in client.get(url("payouts")).content.decode()


def test_what_is_ready_for_the_bank_and_in_its_files_counts_money_that_goes_back(client, seller, scene):
    ask(seller, "60.00")
    now = scene.market.clock.now()
    data = camt([Paid(40 * EURO, "unnamed", name="Stranger Ltd")], currency="USD")
    import_statement(data=data, name="s.xml", now=now, operator=scene.operator)
    line = StatementLine.objects.get().public_id
    decide_line(operator=scene.operator, line_id=line, action="return", now=now, key="r")
    client.force_login(scene.operator)
    client.post(url("payout-rule", Payout.objects.get().public_id), {"ruling": "approve"})
    shown = client.get(url("operator-payouts")).content.decode()
    assert "2 payments" in shown
    assert "100.00 USD" in shown
    client.post(url("payouts-order"), {"currency": "USD", "key": "k"})
    assert 'data-label="payments">2<' in client.get(url("operator-payouts")).content.decode()


def test_what_stripe_asks_for_is_said_once_and_in_words():
    codes = ["external_account", "person_1.dob.day", "representative.email", "tos_acceptance.date", "odd_one.thing"]
    assert due_words(codes) == [
        "The bank account that you are paid to",
        "Details of whoever represents your firm",
        "Your agreement to Stripe's terms",
        "Odd one: thing",
    ]
