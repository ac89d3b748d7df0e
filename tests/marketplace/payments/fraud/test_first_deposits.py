"""A new firm's card deposits: how much, how often, with how many cards, and that its bank is asked."""

from __future__ import annotations

import pytest
import stripe

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.fraud.first_deposits import check_card_deposit, is_new, three_d_secure
from marketplace.payments.models import Deposit, PaymentDispute, TopUpRule
from marketplace.payments.services import cancel_deposit, start_deposit
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.payments.fraud.conftest import DAY, DOLLAR, HOUR
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url
from tests.marketplace.payments.test_top_ups import in_wallet, ruled, saved, tick
from tests.stripesim import client

__all__ = ["_plain_static_files", "client"]
OPTIONAL = "pm_card_threeDSecureOptional"


@pytest.fixture
def strict(settings):
    settings.CARD_SEASON_DAYS = 30
    settings.CARD_FIRST_LIMITS = {"USD": 500 * DOLLAR}
    settings.CARD_DAY_LIMITS = {"USD": 800 * DOLLAR}
    settings.CARD_WEEK_LIMITS = {"USD": 1000 * DOLLAR}
    settings.CARD_DEPOSITS_PER_DAY_MAX, settings.CARDS_PER_WEEK_MAX = 3, 2
    settings.THREE_D_SECURE, settings.THREE_D_SECURE_FROM = "any", {"USD": 1000 * DOLLAR}
    return settings


def refused(firm, dollars, now, **more):
    with pytest.raises(Conflict) as told:
        check_card_deposit(firm, "stripe", "USD", dollars * DOLLAR, now, **more)
    return told.value


@pytest.mark.django_db
def test_a_new_firm_is_told_how_much_and_from_when_on_more(strict, money, buyer):
    assert check_card_deposit(buyer, "stripe", "USD", 500 * DOLLAR, NOON) is None
    told = refused(buyer, 501, NOON)
    assert told.code == "card_amount_limit"
    assert told.detail == (
        "a deposit by card is at most 500.00 USD while none of a firm's is 30 days old: 500.00 USD are allowed now, "
        "more 30 days after the first, or by wire"
    )
    money.card(buyer, 500 * DOLLAR, NOON)
    told = refused(buyer, 301, NOON + HOUR)
    assert told.code == "card_day_limit"
    assert "300.00 USD are allowed now, this amount from 2026-11-24 12:00 UTC on" in told.detail
    money.card(buyer, 300 * DOLLAR, NOON + HOUR)
    told = refused(buyer, 250, NOON + 2 * DAY)
    assert (told.code, "200.00 USD are allowed now" in told.detail) == ("card_week_limit", True)
    money.card(buyer, DOLLAR, NOON + 2 * HOUR)
    assert refused(buyer, 1, NOON + 3 * HOUR).code == "card_count_limit"
    assert "more from 2026-12-23 12:00 UTC on" in refused(buyer, 600, NOON + 8 * DAY).detail
    assert check_card_deposit(buyer, "stripe", "USD", 5000 * DOLLAR, NOON + 30 * DAY) is None


@pytest.mark.django_db
def test_a_currency_without_a_line_is_not_taken_from_new_firms_and_wires_have_no_limit(strict, money, buyer):
    assert check_card_deposit(buyer, "wire", "USD", 10**12, NOON) is None
    with pytest.raises(Conflict, match=r"at most 0\.00 EUR"):
        check_card_deposit(buyer, "stripe", "EUR", DOLLAR, NOON)


@pytest.mark.django_db
def test_a_deposit_that_the_bank_took_back_does_not_make_a_firm_old(strict, money, buyer):
    deposit = money.card(buyer, 100 * DOLLAR, NOON)
    assert is_new(buyer, NOON + 29 * DAY)
    assert not is_new(buyer, NOON + 30 * DAY)
    PaymentDispute.objects.create(
        deposit=deposit, object_id="dp_1", amount_micros=DOLLAR, reason="fraudulent", state="lost", opened_at=NOON
    )
    assert is_new(buyer, NOON + 30 * DAY)


@pytest.mark.django_db
def test_a_third_card_within_a_week_waits_also_for_a_firm_that_is_not_new(strict, money, buyer):
    money.card(buyer, DOLLAR, NOON - 40 * DAY, "fp_a")
    money.card(buyer, DOLLAR, NOON, "fp_a")
    assert check_card_deposit(buyer, "stripe", "USD", DOLLAR, NOON) is None
    money.card(buyer, DOLLAR, NOON + DAY, "fp_b")
    told = refused(buyer, 1, NOON + 2 * DAY)
    assert (told.code, "again from 2026-11-30 12:00 UTC on" in told.detail) == ("too_many_cards", True)
    assert check_card_deposit(buyer, "stripe", "USD", DOLLAR, NOON + 2 * DAY, fingerprint="fp_b") is None
    assert refused(buyer, 1, NOON + 2 * DAY, fingerprint="fp_c").code == "too_many_cards"
    assert check_card_deposit(buyer, "stripe", "USD", DOLLAR, NOON + 7 * DAY) is None


@pytest.mark.django_db(transaction=True)
def test_pages_that_are_open_count_and_those_that_were_closed_do_not(here, strict):
    firm = make_firm()
    first = here.deposit(firm, 500 * DOLLAR, key="1")
    with pytest.raises(Conflict, match=r"300\.00 USD are allowed now"):
        here.deposit(firm, 400 * DOLLAR, key="2")
    cancel_deposit(firm=firm, deposit_id=first.public_id, now=here.now)
    here.deposit(firm, 400 * DOLLAR, key="2")
    assert start_deposit(firm=firm, currency="USD", amount_micros=10**12, idempotency_key="3", now=here.now)


@pytest.mark.django_db(transaction=True)
def test_the_api_and_the_page_say_it(here, strict):
    firm = make_firm()
    body = {"gateway": "stripe", "amount": "501.00", "currency": "USD"}
    answer = api_of(firm).post("/api/v1/deposits/", body, format="json", headers={"Idempotency-Key": "a"})
    assert (answer.status_code, answer.json()["code"]) == (409, "card_amount_limit")
    assert "500.00 USD are allowed now" in answer.json()["detail"]
    form = {"key": "k", "amount": "501.00", "currency": "USD", "gateway": "stripe"}
    page = browser(make_person(firm)).post(url("wallet"), form).content.decode()
    assert "500.00 USD are allowed now" in page
    assert not Deposit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_fingerprint_of_the_card_is_the_gateways_and_nothing_else_is_kept(here):
    deposit = here.paid(make_firm())
    (charge,) = here.sim.client().v1.charges.list({}).data
    assert deposit.card_fingerprint == charge.payment_method_details.card.fingerprint != ""
    assert saved(here, deposit.firm).fingerprint == deposit.card_fingerprint


@pytest.mark.django_db(transaction=True)
def test_an_automatic_top_up_over_the_limit_asks_its_owner(here, strict):
    firm = make_firm()
    saved(here, firm)
    ruled(here, firm, amount=400 * DOLLAR)
    assert tick(here) == 1
    ruled(here, firm, below=1000 * DOLLAR, amount=401 * DOLLAR)
    assert tick(here) == 0
    rule = TopUpRule.objects.get()
    assert (rule.state, rule.reason, in_wallet(firm)) == ("needs_you", "card_day_limit", 400 * DOLLAR)
    told = Event.objects.get(firm_id=firm.pk, type="top_up_rule.needs_you")
    assert "400.00 USD are allowed now" in told.data["said"]


@pytest.mark.django_db
def test_a_bank_is_asked_for_new_firms_and_for_large_amounts(strict, money, buyer):
    assert three_d_secure(buyer, "USD", DOLLAR, NOON) == "any"
    money.card(buyer, 100 * DOLLAR, NOON - 31 * DAY)
    assert three_d_secure(buyer, "USD", 999 * DOLLAR, NOON) == "automatic"
    assert three_d_secure(buyer, "USD", 1000 * DOLLAR, NOON) == "any"
    assert three_d_secure(buyer, "EUR", DOLLAR, NOON) == "any"


@pytest.mark.django_db(transaction=True)
def test_on_the_payment_page_the_holder_says_yes_to_the_first_deposit_and_not_to_the_next(here, strict):
    firm = make_firm()
    first = here.deposit(firm, 100 * DOLLAR)
    here.work()
    here.pay(first, OPTIONAL)
    here.hear()
    assert balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD") == 0
    (intent,) = here.sim.client().v1.payment_intents.list({}).data
    assert intent.payment_method_options.card.request_three_d_secure == "any"
    here.sim.sim("authenticate", {"intent": intent.id, "yes": True})
    here.hear()
    assert balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD") == 100 * DOLLAR
    here.advance(days=31)
    assert here.paid(firm, 100 * DOLLAR, key="k2", card=OPTIONAL).state == "confirmed"


@pytest.mark.django_db(transaction=True)
def test_an_automatic_charge_that_the_bank_asks_about_gets_a_page(here, strict):
    firm = make_firm()
    saved(here, firm, OPTIONAL)
    ruled(here, firm, amount=100 * DOLLAR)
    tick(here)
    rule = TopUpRule.objects.get()
    assert (rule.state, rule.reason, in_wallet(firm)) == ("needs_you", "authentication_required", 0)
    assert Deposit.objects.get().pay_url


@pytest.mark.parametrize(("asked", "status"), [("automatic", "succeeded"), ("any", "requires_action")])
def test_the_simulators_card_asks_when_it_is_asked(client: stripe.StripeClient, asked, status):
    """https://docs.stripe.com/testing#regulatory-cards"""
    given = {"amount": 500, "currency": "usd", "confirm": True, "return_url": "https://example.com"}
    given["payment_method_options"] = {"card": {"request_three_d_secure": asked}}
    intents = client.v1.payment_intents
    assert intents.create({**given, "payment_method": OPTIONAL}).status == status
    assert intents.create({**given, "payment_method": "pm_card_visa"}).status == "succeeded"
