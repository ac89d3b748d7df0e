"""The operator's reconciliation, through its pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.urls import reverse

from marketplace.common import clock
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments.gateway import BookEntry
from marketplace.payments.models import Difference, ManualBooking, PlatformPayout, ReconciliationRun
from marketplace.payments.reconciliation.services.comparing import compare
from marketplace.payments.reconciliation.services.reading import keep_entries
from tests.factories import make_person

pytestmark = pytest.mark.django_db
DOLLAR = 1_000_000
PAGES = ("reconciliation", "operator-payments", "operator")


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture(autouse=True)
def _stripe(settings):
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"


@pytest.fixture
def operator(client, scene):
    client.force_login(scene.operator)
    return client


def compared(**holdings):
    """A run that has read an empty list."""
    now = clock.now()
    run = ReconciliationRun.objects.create(
        gateway="stripe", asked_at=now, next_try_at=now, read_at=now, is_read=True, reads_count=3,
        holdings={name: [micros, 0] for name, micros in holdings.items()},
    )  # fmt: skip
    compare(run, now)
    return run


@pytest.fixture
def missing(scene):
    """Five dollars in a wallet of which Stripe knows nothing."""
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="stripe")
    wallet = account_for(firm=scene.market.bob, kind=AccountKind.WALLET, currency="USD")
    legs = [Leg(outside, -5 * DOLLAR), Leg(wallet, 5 * DOLLAR)]
    post(ref="stripe:txn_of_nobody", code=Code.DEPOSIT, legs=legs, now=clock.now() - timedelta(hours=2))
    compared()
    return Difference.objects.get()


def shown(browser, *names):
    return [browser.get(url(name)).content.decode() for name in names]


def test_the_pages_are_red_until_a_comparison_of_today_found_nothing(operator, monkeypatch):
    assert all("not found to say the same" in page for page in shown(operator, "operator", "operator-payments"))
    assert "Nothing was compared yet." in shown(operator, "reconciliation")[0]
    compared()
    page = shown(operator, "reconciliation")[0]
    assert "The ledger says what Stripe says." in page
    assert not any("alert" in each for each in shown(operator, *PAGES))
    later = clock.now() + timedelta(hours=27)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "older than 26 hours" in shown(operator, "reconciliation")[0]
    assert "not found to say the same" in shown(operator, "operator")[0]


def test_without_stripe_there_is_nothing_to_compare(operator, settings):
    settings.STRIPE_SECRET_KEY = ""
    assert "No gateway with books of its own" in shown(operator, "reconciliation")[0]
    assert "not found to say" not in shown(operator, "operator")[0]


def test_the_button_asks_for_a_comparison(operator):
    answer = operator.post(url("reconciliation-run"), {"gateway": "stripe"}, follow=True).content.decode()
    assert "being compared" in answer
    assert "asked" in answer
    assert ReconciliationRun.objects.get().state == "asked"
    operator.post(url("reconciliation-run"), {"gateway": "wire"}, follow=True)
    assert ReconciliationRun.objects.count() == 1


def test_a_difference_is_shown_and_explained(operator, scene, missing):
    page = shown(operator, "reconciliation")[0]
    assert "1 difference with Stripe is not explained" in page
    assert "In the ledger, not in the gateway&#x27;s books" in page
    assert "stripe:txn_of_nobody" in page
    there = url("difference", missing.public_id)
    assert "txn_of_nobody" in operator.get(there).content.decode()
    refused = operator.post(there, {"key": "a", "action": "off_firm", "firm_id": "firm_none", "reason": "test"})
    assert (refused.status_code, "No firm has this id" in refused.content.decode()) == (422, True)
    assert operator.post(there, {"key": "a", "action": "off_firm", "reason": ""}).status_code == 422
    before = balance_micros(firm=scene.market.bob, kind=AccountKind.WALLET, currency="USD")
    given = {"key": "b", "action": "off_firm", "firm_id": scene.market.bob.public_id, "reason": "never paid"}
    assert operator.post(there, given).url == url("reconciliation")
    assert balance_micros(firm=scene.market.bob, kind=AccountKind.WALLET, currency="USD") == before - 5 * DOLLAR
    page = shown(operator, "reconciliation")[0]
    assert "never paid" in page
    assert scene.operator.email in page
    assert "The ledger says what Stripe says." in page
    assert "never paid" in operator.get(there).content.decode()


def test_much_money_is_agreed_to_on_the_bank_page(operator, client, scene, missing, settings):
    settings.TWO_PERSON_LIMITS = {}
    there = url("difference", missing.public_id)
    assert "Ask another operator" in operator.get(there).content.decode()
    operator.post(there, {"key": "a", "action": "off_own", "reason": "ours"})
    booking = ManualBooking.objects.get()
    assert "Another operator agrees" in operator.get(there).content.decode()
    client.force_login(make_person(is_operator=True))
    assert "difference with Stripe" in client.get(url("operator-bank")).content.decode()
    client.post(url("booking-decide", booking.public_id), {"answer": "agree"})
    assert Difference.objects.get().state == "explained"


def test_one_without_money_asks_for_a_reason_alone(operator):
    now = clock.now()
    PlatformPayout.objects.create(
        gateway="stripe", object_id="po_1", currency="USD", amount_micros=DOLLAR, is_automatic=False,
        happened_at=now, arrives_at=now,
    )  # fmt: skip
    compared()
    there = url("difference", Difference.objects.get(kind="transit").public_id)
    page = operator.get(there).content.decode()
    assert "Explain it" in page
    assert "Where its money belongs" not in page
    operator.post(there, {"key": "a", "reason": "the bank lost it"})
    compared()
    assert "Explain it" not in operator.get(there).content.decode()
    assert "The ledger says what Stripe says." in shown(operator, "reconciliation")[0]
    assert not ManualBooking.objects.exists()


def test_what_changed_is_shown_with_both_amounts(operator):
    at = clock.now() - timedelta(hours=2)
    first = BookEntry("txn_1", "charge", "USD", 3 * DOLLAR, 0, 3 * DOLLAR, "ch_1", at, at)
    other = replace(first, amount_micros=4 * DOLLAR, net_micros=4 * DOLLAR)
    keep_entries("stripe", [first], at)
    keep_entries("stripe", [other], at)
    compared(USD=4 * DOLLAR)
    page = operator.get(url("difference", Difference.objects.get(kind="changed").public_id)).content.decode()
    assert "3.000000 → 4.000000" in page
    page = operator.get(url("difference", Difference.objects.get(kind="not_booked").public_id)).content.decode()
    assert "What Stripe takes or gives" in page


def test_the_pages_exist_for_operators_alone(client, scene, missing):
    there = url("difference", missing.public_id)
    addresses = (url("reconciliation"), there)
    assert {client.get(path).status_code for path in addresses} == {302}
    for person in (scene.seller, make_person(scene.market.bob)):
        client.force_login(person)
        assert {client.get(path).status_code for path in addresses} == {404}
        assert client.post(url("reconciliation-run"), {"gateway": "stripe"}).status_code == 404
        given = {"key": "a", "action": "off_own", "reason": "mine"}
        assert client.post(there, given).status_code == 404
    assert Difference.objects.get().state == "open"
    assert ReconciliationRun.objects.count() == 1
    client.force_login(scene.operator)
    assert client.get(url("difference", "dif_none")).status_code == 404
