"""Cards paid by card: what the wallet lacks comes from Stripe's page, and the sale follows by itself."""

from __future__ import annotations

import pytest

from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Deposit
from marketplace.payments.services import expire_deposits
from marketplace.sales.models import CardPurchase, Sale
from marketplace.sales.services.purchases import finish_purchases
from tests.cards import buy, list_for_sale
from tests.factories import api_of, fund, make_firm, make_person
from tests.hosts import Host
from tests.marketplace.payments.test_disputes import disputed
from tests.marketplace.payments.test_money_out import outside
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url
from tests.marketplace.sales.conftest import _photos_and_rules

__all__ = ["_photos_and_rules", "_plain_static_files"]
pytestmark = pytest.mark.django_db(transaction=True)
USD = 1_000_000
WHERE = {"ships_to": "FR", "address": "1 rue de la Carte, Paris"}


@pytest.fixture
def listing(here):
    return list_for_sale(Host(make_firm("Alice"), here.now, count=1).cards, now=here.now)


@pytest.fixture
def bob():
    """A buyer with 100 in the wallet."""
    fund(firm := make_firm("Bob"), 100 * USD)
    return firm


def ask(firm, listing, key="k", **more):
    return api_of(firm).post(
        f"/api/v1/card-listings/{listing.public_id}/buy-by-card/",
        WHERE | more,
        format="json",
        headers={"Idempotency-Key": key},
    )


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def pay(here):
    here.work()
    here.pay(Deposit.objects.get())
    here.hear()


def test_a_card_pays_exactly_what_the_wallet_lacks_and_the_sale_is_paid_by_itself(here, listing, bob):
    made = ask(bob, listing)
    assert (made.status_code, made.json()["state"]) == (201, "waiting")
    assert ask(bob, listing).status_code == 200
    deposit, client = Deposit.objects.get(), api_of(bob)
    total = CardPurchase.objects.get().most_micros
    assert deposit.amount_micros == total - 100 * USD
    assert finish_purchases(now=here.now) == 0
    here.work()
    assert client.get(f"/api/v1/deposits/{deposit.public_id}/").json()["instructions"]["pay_url"]
    pay(here)
    assert finish_purchases(now=here.now) == 1
    shown = client.get(f"/api/v1/card-purchases/{made.json()['id']}/").json()
    sale = Sale.objects.get()
    assert (shown["state"], shown["bid"]) == ("bought", sale.bid.public_id)
    assert (sale.state, sale.buyer, in_wallet(bob)) == ("paid", bob, 0)
    assert balance_micros(firm=bob, kind=AccountKind.ESCROW, currency="USD", ref=sale.public_id) == total
    assert finish_purchases(now=here.now) == 0
    listed = client.get("/api/v1/card-purchases/", {"state": "bought"}).json()["data"]
    assert [each["id"] for each in listed] == [shown["id"]]
    ours, theirs = outside(here)
    assert ours == theirs


def test_what_is_gone_when_the_money_comes_leaves_it_in_the_wallet_and_it_can_go_back(here, listing, bob):
    ask(bob, listing)
    fund(other := make_firm(), 2000 * USD)
    buy(other, listing, now=here.now)
    pay(here)
    assert finish_purchases(now=here.now) == 1
    purchase, deposit = CardPurchase.objects.get(), Deposit.objects.get()
    assert (purchase.state, purchase.end_reason) == ("not_bought", "offer_gone")
    assert in_wallet(bob) == 100 * USD + deposit.amount_micros
    page = browser(make_person(bob)).get(url("deposit", deposit.public_id)).content.decode()
    assert "Nothing was bought" in page
    assert "Send back to the card" in page


def test_what_the_buyer_spends_meanwhile_is_not_spent_twice(here, listing, bob):
    ask(bob, listing)
    more = list_for_sale(Host(make_firm("Carol"), here.now, count=1).cards, now=here.now, ask=20 * USD)
    buy(bob, more, now=here.now)
    pay(here)
    finish_purchases(now=here.now)
    assert CardPurchase.objects.get().end_reason == "insufficient_funds"
    assert Sale.objects.filter(listing=listing).count() == 0


def test_what_nobody_pays_ends_with_its_page(here, listing, bob):
    ask(bob, listing)
    here.work()
    here.advance(hours=26)
    expire_deposits(now=here.now)
    assert finish_purchases(now=here.now) == 1
    assert CardPurchase.objects.get().end_reason == "not_paid"


def test_it_is_refused_where_it_makes_no_sense(here, listing, bob):
    assert ask(bob, listing, "a", max_total="900.00").json()["code"] == "quote_stale"
    fund(rich := make_firm(), 5000 * USD)
    assert ask(rich, listing, "b").json()["code"] == "wallet_has_it"
    disputed(here, debtor := make_firm(), spent=60 * USD)
    assert ask(debtor, listing, "c").json()["code"] == "debt_owed"
    assert not CardPurchase.objects.exists()
    assert Deposit.objects.count() == 1


def test_on_the_page_the_card_pays_what_lacks(here, listing, bob):
    buyer, address = browser(make_person(bob)), url("card-listing", listing.public_id)
    form = WHERE | {"count": "1", "key": "k", "route": ""}
    shown = buyer.post(address, form).content.decode()
    assert 'name="by_card"' in shown
    total = shown.split('name="shown_total" value="')[1].split('"')[0]
    answer = buyer.post(address, form | {"shown_total": total, "by_card": "1"})
    deposit = Deposit.objects.get()
    assert answer["Location"] == url("deposit", deposit.public_id)
    assert "bought as soon as the money is here" in buyer.get(answer["Location"]).content.decode()
    pay(here)
    finish_purchases(now=here.now)
    assert Sale.objects.get().public_id in buyer.get(answer["Location"]).content.decode()
