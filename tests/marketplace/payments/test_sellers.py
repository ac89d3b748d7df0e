"""Sellers' accounts: opened once, filled in on hosted pages, known by what is fetched."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from marketplace.accounts.models import Firm
from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from marketplace.payments.models import BankDetails, SellerAccount, SellerTransfer
from marketplace.payments.payouts.services.asking import request_payout
from marketplace.payments.sellers import account_seen, look_again, look_at_accounts, open_account, way_of_paying
from marketplace.payments.transfers import send_earnings
from tests.factories import api_of, make_firm, make_person
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=[2, 1])
def version(request, settings):
    settings.STRIPE_ACCOUNTS_VERSION = request.param
    return request.param


def opened(here, firm=None):
    account, _ = open_account(firm=firm or make_firm(), idempotency_key="k", now=here.now)
    here.work()
    here.look()
    account.refresh_from_db()
    return account


def test_an_account_is_opened_filled_in_on_the_pages_and_ready(here, version):
    seller = browser(make_person(firm := make_firm()))
    assert "Open an account" in seller.get(url("getting-paid")).content.decode()
    seller.post(url("getting-paid-open"), {"key": "k"})
    assert "is being opened" in seller.get(url("getting-paid")).content.decode()
    here.work()
    here.look()
    account = SellerAccount.objects.get()
    assert (account.state, account.firm, bool(account.due)) == ("due", firm, True)
    assert "still asks for" in seller.get(url("getting-paid")).content.decode()
    link = seller.get(url("getting-paid-continue"))["Location"]
    path = link.removeprefix(here.sim.url)
    assert here.sim.ask("GET", path, None)[0] == 200
    back = here.sim.ask("POST", path, "outcome=complete")[1]["location"]
    assert back.endswith("/sell/getting-paid/?back=1")
    assert here.sim.ask("GET", path, None)[1]["location"].endswith("/sell/getting-paid/continue/")  # a link works once
    assert "Everything is there" not in seller.get(url("getting-paid"), {"back": "1"}).content.decode()
    here.look()
    assert "Everything is there" in seller.get(url("getting-paid")).content.decode()
    told = Event.objects.filter(firm_id=firm.pk, type__startswith="seller").order_by("pk")
    types = told.values_list("type", flat=True)
    assert list(types) == ["seller_account.created", "seller_account.due", "seller_account.ready"]


def test_whatever_fails_while_it_is_opened_there_is_one_account(here, version):
    open_account(firm=make_firm(), idempotency_key="k", now=here.now)
    here.fault("reply_lost", "error_after", "error")
    here.work()
    here.advance(hours=25)
    here.work_through()
    account = SellerAccount.objects.get()
    (only,) = here.sim.client().v1.accounts.list({}).data
    assert account.account_id == only.id


def test_a_refused_account_is_told(here):
    account = opened(here)
    here.sim.sim("onboard", {"account": account.account_id, "outcome": "rejected"})
    look_again(account.firm, here.now)
    here.look()
    account.refresh_from_db()
    assert account.state == "refused"


def test_a_change_whose_event_was_lost_is_seen_within_a_day(here):
    account = opened(here)
    here.sim.sim("onboard", {"account": account.account_id})
    here.advance(minutes=10)
    look_at_accounts(now=here.now)
    here.look()
    account.refresh_from_db()
    assert account.state == "ready"
    here.advance(hours=23)
    look_at_accounts(now=here.now)
    assert here.look() == 0
    here.advance(hours=2)
    look_at_accounts(now=here.now)
    assert here.look() == 1


def test_what_was_fetched_earlier_says_nothing_new(here):
    account = opened(here)
    fact = {"account_id": account.account_id, "is_ready": True, "is_refused": False, "due": []}
    account_seen(fact, account.told_at - timedelta(seconds=1))
    account.refresh_from_db()
    assert account.state == "due"
    account_seen(fact, account.told_at)
    account.refresh_from_db()
    assert account.state == "ready"


def test_a_firm_that_stripe_does_not_serve_is_paid_by_wire_and_told_so(here):
    firm = make_firm(country="CN")
    with pytest.raises(Conflict, match="no account for firms in CN"):
        open_account(firm=firm, idempotency_key="k", now=here.now)
    shown = browser(make_person(firm)).get(url("getting-paid")).content.decode()
    assert "paid by wire" in shown
    assert url("bank-details") in shown
    answer = api_of(firm).get("/api/v1/seller-account/").json()
    assert answer == {"gateway": "wire", "state": None, "due": []}


def test_a_firm_that_stripe_pays_is_told_so_on_the_page_of_payouts(here):
    shown = browser(make_person(make_firm())).get(url("payouts")).content.decode()
    assert url("getting-paid") in shown
    assert url("bank-details") not in shown
    shown = browser(make_person(make_firm(country="CN"))).get(url("payouts")).content.decode()
    assert url("bank-details") in shown


def test_the_api_opens_one_account_and_makes_a_link_for_each_click(here):
    client = api_of(make_firm())
    post = {"format": "json", "headers": {"Idempotency-Key": "k"}}
    assert client.post("/api/v1/seller-account/link/").status_code == 404
    assert [client.post("/api/v1/seller-account/", **post).status_code for _ in range(2)] == [201, 200]
    assert client.post("/api/v1/seller-account/link/").json()["code"] == "account_opening"
    here.work()
    links = {client.post("/api/v1/seller-account/link/").json()["url"] for _ in range(2)}
    assert len(links) == 2
    assert Client().get("/api/v1/seller-account/").status_code == 401


def test_earnings_go_one_way_whatever_a_firm_was_paid_by_before(here):
    """A ready account, then a country without Stripe, then back: never both, never none."""
    firm = make_firm()
    account = opened(here, firm)
    here.sim.sim("onboard", {"account": account.account_id})
    here.advance(days=8)
    fund_earnings(firm, 50_000_000, here.now - timedelta(days=8))
    look_again(firm, here.now)
    here.look()
    details(firm, here.now)
    assert way_of_paying(firm) == "stripe"
    with pytest.raises(Conflict) as refused:
        pay_out(here, firm)
    assert refused.value.code == "paid_by_stripe"
    Firm.objects.filter(pk=firm.pk).update(headquarters_country="CN")
    firm.refresh_from_db()
    assert (way_of_paying(firm), send_earnings(now=here.now)) == ("wire", 0)
    assert api_of(firm).get("/api/v1/seller-account/").json()["gateway"] == "wire"
    assert pay_out(here, firm)[0].state == "created"
    Firm.objects.filter(pk=firm.pk).update(headquarters_country="DE")
    assert send_earnings(now=here.now) == 1
    assert SellerTransfer.objects.get().amount_micros == 30_000_000


def test_who_is_refused_by_stripe_is_paid_by_wire(here):
    account = opened(here, firm := make_firm())
    here.sim.sim("onboard", {"account": account.account_id, "outcome": "rejected"})
    look_again(firm, here.now)
    here.look()
    fund_earnings(firm, 50_000_000, here.now - timedelta(days=8))
    details(firm, here.now)
    assert pay_out(here, firm)[0].state == "created"
    shown = browser(make_person(firm)).get(url("getting-paid")).content.decode()
    assert "Stripe has refused your account, so you are paid by wire" in shown
    assert url("bank-details") in shown


def fund_earnings(firm, micros, at):
    legs = [
        Leg(account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="test"), -micros),
        Leg(account_for(firm=firm, kind=AccountKind.EARNINGS, currency="USD"), micros),
    ]
    post(ref=f"earned:{firm.pk}", code=Code.SETTLEMENT, legs=legs, now=at)


def details(firm, now):
    long_ago = now - timedelta(days=9)
    BankDetails.objects.create(
        firm=firm, holder="Seller", sealed_account=b"x", hint="DE…0000", created_by=make_person(firm),
        created_at=long_ago, usable_at=long_ago,
    )  # fmt: skip


def pay_out(here, firm):
    return request_payout(firm=firm, currency="USD", amount_micros=20_000_000, idempotency_key="p", now=here.now)
