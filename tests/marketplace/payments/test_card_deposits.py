"""Deposits by card: a page, a payment, and the wallet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common.errors import Conflict, Invalid
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.inbox import look_at
from marketplace.payments.selectors import instructions_for, waiting_deposits
from marketplace.payments.services import cancel_deposit, confirm_deposit, expire_deposits, look_at_payment
from tests.factories import api_of, make_firm, make_person

pytestmark = pytest.mark.django_db(transaction=True)


def held(firm, kind, currency="USD", ref=""):
    return balance_micros(firm=firm, kind=kind, currency=currency, ref=ref)


def entries(here):
    return here.sim.client().v1.balance_transactions.list({"limit": 100}).data


def test_the_firm_gets_what_it_paid_and_the_platform_pays_the_fee_that_stripe_took(here):
    deposit = here.paid(firm := make_firm())
    (entry,) = entries(here)
    assert entry.fee > 0
    assert (deposit.state, deposit.confirmed_by, deposit.pay_url) == ("confirmed", None, "")
    assert held(firm, AccountKind.WALLET) == 100_000_000
    assert held(None, AccountKind.GATEWAY_FEE, ref="stripe") == -entry.fee * 10_000
    assert held(None, AccountKind.CLEARING, ref="stripe") == -entry.net * 10_000
    assert Journal.objects.get().ref == f"stripe:{entry.id}"
    types = Event.objects.filter(subject=deposit.public_id).order_by("pk").values_list("type", flat=True)
    assert list(types) == ["deposit.created", "deposit.confirmed"]


@pytest.mark.parametrize(
    ("currency", "micros", "number"), [("JPY", 5_000_000_000, 5_000), ("KWD", 12_340_000, 12_340), ("EUR", 730_000, 73)]
)
def test_each_currency_has_its_own_places(here, currency, micros, number):
    firm = make_firm()
    here.paid(firm, micros, currency)
    (entry,) = entries(here)
    assert (entry.amount, entry.currency) == (number, currency.lower())
    assert held(firm, AccountKind.WALLET, currency) == micros


@pytest.mark.parametrize(("currency", "micros"), [("USD", 1_001_000), ("JPY", 100_500_000), ("KWD", 1_001_000)])
def test_an_amount_between_two_units_is_refused(here, currency, micros):
    with pytest.raises(Invalid) as refused:
        here.deposit(make_firm(), micros, currency)
    assert refused.value.code == "bad_amount"


def test_by_the_api_the_page_is_in_the_instructions_once_it_is_open(here):
    client = api_of(make_firm())
    body = {"amount": "20.00", "currency": "USD", "gateway": "stripe"}
    first = client.post("/api/v1/deposits/", body, format="json", headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["instructions"]["pay_url"]) == (201, "")
    here.work()
    again = client.post("/api/v1/deposits/", body, format="json", headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.json()["instructions"]["pay_url"].startswith(here.sim.url)
    assert client.get(f"/api/v1/deposits/{first.json()['id']}/").json()["instructions"]["pay_url"]


def test_without_a_key_there_is_no_such_gateway(settings):
    settings.STRIPE_SECRET_KEY = ""
    body = {"amount": "20.00", "currency": "USD", "gateway": "stripe"}
    answer = api_of(make_firm()).post("/api/v1/deposits/", body, format="json", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_gateway")


def test_whoever_comes_back_from_the_page_need_not_wait_for_an_event(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    here.work()
    here.pay(deposit)
    look_at_payment(deposit, here.now)
    look_at_payment(deposit, here.now)
    assert here.look() == 1
    assert held(firm, AccountKind.WALLET) == 100_000_000


def test_a_declined_card_leaves_the_page_open_for_another(here):
    firm = make_firm()
    deposit = here.paid(firm, card="pm_card_visa_chargeDeclined")
    assert (deposit.state, held(firm, AccountKind.WALLET)) == ("created", 0)
    here.pay(deposit)
    here.hear()
    assert held(firm, AccountKind.WALLET) == 100_000_000


def test_a_page_that_nobody_used_expires_with_its_deposit(here):
    deposit = here.deposit(make_firm())
    here.work()
    here.advance(hours=24, seconds=1)
    here.hear()
    deposit.refresh_from_db()
    assert (deposit.state, instructions_for(deposit)) == ("expired", None)


def test_a_payment_whose_news_came_after_the_deposit_expired_is_money_all_the_same(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    here.work()
    here.pay(deposit)
    here.now += timedelta(hours=26)
    assert expire_deposits(now=here.now) == 1
    here.look()
    deposit.refresh_from_db()
    assert (deposit.state, held(firm, AccountKind.WALLET)) == ("confirmed", 100_000_000)
    assert Event.objects.get(type="deposit.confirmed").reason == "came_late"


def test_paid_while_it_was_being_cancelled_is_money_all_the_same(here):
    firm = make_firm()
    deposit = here.deposit(firm)
    here.work()
    here.pay(deposit)
    cancel_deposit(firm=firm, deposit_id=deposit.public_id, now=here.now)
    here.work()
    here.hear()
    assert held(firm, AccountKind.WALLET) == 100_000_000


def test_no_operator_confirms_what_the_gateway_confirms(here):
    deposit, operator = here.deposit(make_firm()), make_person(is_operator=True)
    assert not waiting_deposits()
    with pytest.raises(Conflict, match="itself says"):
        confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=here.now)


def test_who_pays_a_deposit_twice_has_both_in_the_wallet_and_hears_of_it(here):
    deposit = here.paid(firm := make_firm())
    given = {
        "amount": 10_000,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "off_session": True,
        "confirm": True,
    }
    here.sim.client().v1.payment_intents.create({**given, "metadata": {"deposit": deposit.public_id}})
    here.hear()
    look_at("stripe", "payment_intent", here.sim.client().v1.payment_intents.list({}).data[0].id, now=here.now)
    here.look()
    assert held(firm, AccountKind.WALLET) == 200_000_000
    assert list(Event.objects.filter(type="deposit.paid_again").values_list("firm_id", flat=True)) == [firm.pk, None]
    assert held(None, AccountKind.CLEARING, ref="stripe") == -sum(each.net for each in entries(here)) * 10_000
