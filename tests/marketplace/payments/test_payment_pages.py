"""Paying by card and looking after what is stuck, on the pages."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments import inbox
from marketplace.payments.models import Deposit, GatewayCall, GatewayNotice
from tests.factories import make_firm, make_person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _plain_static_files(settings) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


def browser(person):
    client = Client()
    client.force_login(person)
    return client


def test_a_deposit_by_card_from_the_wallet_page_and_back(here):
    buyer = browser(make_person(firm := make_firm()))
    assert "Pay by card" in buyer.get(url("wallet")).content.decode()
    form = {"amount": "25.00", "currency": "USD", "gateway": "stripe", "key": "k1"}
    answer = buyer.post(url("wallet"), form)
    deposit = Deposit.objects.get()
    assert answer["Location"] == url("deposit", deposit.public_id)
    assert "being opened" in buyer.get(answer["Location"]).content.decode()
    here.work()
    deposit.refresh_from_db()
    waiting = buyer.get(answer["Location"], {"seen": "created"}, headers={"HX-Request": "true"})
    assert waiting["HX-Refresh"] == "true"
    assert f'href="{deposit.pay_url}"' in buyer.get(answer["Location"]).content.decode()
    here.pay(deposit)
    back = here.sim.ask("GET", f"/checkout/{deposit.page_id}", None)[1]["location"]
    assert back.endswith(f"/wallet/deposits/{deposit.public_id}/?back=1")
    assert "is being asked" in buyer.get(url("deposit", deposit.public_id), {"back": "1"}).content.decode()
    here.look()
    assert balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD") == 25_000_000
    assert "is in your wallet" in buyer.get(url("deposit", deposit.public_id), {"back": "1"}).content.decode()


def test_without_stripe_the_wallet_offers_wires_alone(settings):
    settings.STRIPE_SECRET_KEY = ""
    page = browser(make_person(make_firm())).get(url("wallet")).content.decode()
    assert "Pay by card" not in page
    assert "Show how to pay" in page


def test_an_operator_sees_what_is_stuck_and_has_it_tried_again(here, settings):
    settings.STRIPE_SECRET_KEY = "sk_live_wrong"
    here.deposit(make_firm())
    here.work()
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    inbox.look_at("stripe", "checkout.session", "cs_test_nowhere", now=here.now)
    here.look()
    call, notice = GatewayCall.objects.get(), GatewayNotice.objects.get()
    operator, other = browser(make_person(is_operator=True)), browser(make_person(make_firm()))
    again, given_up = url("call-act", call.public_id, "again"), url("call-act", call.public_id, "give-up")
    for path in (again, given_up, url("notice-again", notice.public_id)):
        assert other.post(path).status_code == 404
    assert other.get(url("operator-payments")).status_code == 404
    assert "2 stuck" in operator.get(url("operator")).content.decode()
    page = operator.get(url("operator-payments")).content.decode()
    assert again in page
    assert "cs_test_nowhere" in page
    assert operator.post(url("call-act", call.public_id, "burn")).status_code == 404
    operator.post(again)
    operator.post(url("notice-again", notice.public_id))
    assert here.work() == 2  # the look, then the call
    assert Deposit.objects.get().pay_url
    types = set(Event.objects.filter(actor__startswith="usr_", firm_id=None).values_list("type", flat=True))
    assert types == {"gateway_call.tried_again", "gateway_notice.tried_again"}
