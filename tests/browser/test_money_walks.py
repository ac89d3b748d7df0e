"""Walks of money by clicks, through Stripe's simulator and its hosted pages, to statements that add up to the micro."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest

from marketplace.common import clock
from marketplace.common.money import parse_micros
from marketplace.ledger.models import Account, AccountKind, Code
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments import inbox, inbox_worker, outbox_worker
from marketplace.payments.models import Deposit, SellerTransfer
from marketplace.payments.top_ups import top_up
from marketplace.payments.transfers import send_earnings
from tests.browser.visitor import Visitor
from tests.storefront import Scene
from tests.stripesim import Simulated, stripesim

__all__ = ["stripesim"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
AT_ONCE, ASKS, DISPUTES = "pm_card_bypassPending", "pm_card_authenticationRequired", "pm_card_createDispute"


@dataclass
class Till:
    """The pages at `url`, Stripe behind them, and a browser."""

    scene: Scene
    sim: Simulated
    url: str
    browser: Any

    def tick(self) -> None:
        """What the clocks do: make the calls that are due, read what Stripe lists, book it."""
        while outbox_worker.work_one(now=clock.now()):
            pass
        inbox.fill_gaps(now=clock.now())
        while inbox_worker.work_one(now=clock.now()):
            pass

    def visitor(self, who: str, *, width: int = 1280, theme: str = "light") -> Visitor:
        visitor = Visitor(self.browser, self.url, theme=theme, width=width, also=(self.sim.url,))
        visitor.sign_in(f"{who}@fallow.example")
        return visitor

    def earn(self, micros: int) -> None:
        """Bob pays Alice for hours out of his wallet."""
        bob, alice = self.scene.market.bob, self.scene.market.alice
        legs = [
            Leg(account_for(firm=bob, kind=AccountKind.WALLET, currency="USD"), -micros),
            Leg(account_for(firm=alice, kind=AccountKind.EARNINGS, currency="USD"), micros),
        ]
        subject = self.scene.lease.public_id
        post(ref=f"walk:{micros}", code=Code.SETTLEMENT, legs=legs, subject=subject, now=clock.now())


@pytest.fixture
def till(chromium, live_server, scene, stripesim, settings) -> Till:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL = "sk_test_fallow", stripesim.url
    settings.PUBLIC_URL, settings.EARNINGS_CLEAR_DAYS = live_server.url, 0
    settings.PAYOUT_RESERVE_BASIS_POINTS = 0
    return Till(scene, stripesim, live_server.url, chromium)


def choose(visitor, card):
    """On Stripe's page: a test card, and the button."""
    visitor.page.check(f"input[value={card}]")
    visitor.page.click("button[type=submit]")


def pay_by_card(till, visitor, dollars, card):
    """From the wallet over the hosted page to money in the wallet."""
    visitor.open("/wallet/")
    visitor.page.fill("input[name=amount]", dollars)
    visitor.page.click("text=Pay by card")
    visitor.page.wait_for_selector("text=being opened")
    till.tick()
    visitor.page.click("text=Go to the payment page")
    choose(visitor, card)
    visitor.page.wait_for_url("**back=1**")
    till.tick()
    visitor.page.wait_for_selector("text=The money arrived")
    return Deposit.objects.latest("pk")


def in_wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


def adds_up(visitor, firm):
    """The page of the period and its table say the same: opening and lines come to what the ledger's accounts hold."""
    visitor.open("/books/")
    rows = visitor.page.locator("section[aria-label=Lines] tbody tr").all()
    *shown, closing = [[_micros(each) for each in row.locator("td.right").all_inner_texts()] for row in rows]
    assert [sum(column) for column in zip(*shown, strict=True)] == closing
    text = visitor.page.request.get(f"{visitor.base}/books/?file=csv").text()
    table = [
        [parse_micros(row[name]) for name in ("free", "held", "earned")] for row in csv.DictReader(io.StringIO(text))
    ]
    assert table == [*shown, closing]
    accounts = Account.objects.filter(firm=firm, currency="USD").values_list("balance_micros", flat=True)
    assert sum(closing) == sum(accounts)
    return sum(closing)


def _micros(text):
    plain = text.replace("\N{MINUS SIGN}", "-").replace("\N{NARROW NO-BREAK SPACE}", "")
    return parse_micros(plain.removesuffix(" USD"))


def test_a_top_up_that_the_bank_asks_about_is_confirmed_by_its_owner(till):
    bob = till.visitor("bob", width=375, theme="dark")
    page, firm = bob.page, till.scene.market.bob
    bob.open("/wallet/top-ups/")
    page.click("text=Save a card")
    page.wait_for_selector("text=A page is being opened")
    till.tick()
    page.click("text=Save it on Stripe's page")
    choose(bob, ASKS)
    page.click("text=Complete")
    page.wait_for_url("**back=1**")
    till.tick()
    page.wait_for_selector("text=Saved: Visa")
    page.fill("input[name=below]", "500")
    page.fill("input[name=amount]", "50.25")
    page.click("text=Turn on")
    page.wait_for_selector("td >> text=50.25")
    before = in_wallet(firm)
    assert top_up(now=clock.now()) == 1
    till.tick()
    assert in_wallet(firm) == before
    bob.open("/wallet/top-ups/")
    bob.picture("top-up-asks")
    page.click("text=Confirm it")
    page.click("text=Go to the payment page")
    choose(bob, ASKS)
    page.click("text=Complete")
    page.wait_for_url("**back=1**")
    till.tick()
    page.wait_for_selector("text=The money arrived")
    assert in_wallet(firm) - before == 50_250_000
    adds_up(bob, firm)
    assert bob.troubles == []
    bob.close()


def test_a_seller_is_onboarded_and_paid_and_gives_a_payer_its_money_back(till):
    bob, alice, operator = till.visitor("bob"), till.visitor("alice", theme="dark"), till.visitor("operator")
    till.earn(60_500_091)
    deposit = pay_by_card(till, bob, "100", AT_ONCE)
    alice.open("/sell/getting-paid/")
    alice.page.click("text=Open an account")
    alice.page.wait_for_selector("text=being opened")
    till.tick()
    alice.page.click("text=Continue at Stripe")
    alice.page.click("text=Submit")
    alice.page.wait_for_url("**back=1**")
    till.tick()
    alice.page.wait_for_selector("text=Everything is there")
    assert send_earnings(now=clock.now()) == 1
    till.tick()
    assert SellerTransfer.objects.get().state == "paid"
    operator.open("/operator/payments/")
    operator.page.fill("input[name=deposit]", deposit.public_id)
    operator.page.fill("input[name=seller]", till.scene.market.alice.public_id)
    operator.page.fill("input[name=amount]", "30.50")
    operator.page.click("main >> button:has-text('Send back')")
    operator.page.wait_for_selector("text=then it goes to the payer's card")
    till.tick()
    bob.open(f"/wallet/deposits/{deposit.public_id}/")
    bob.page.wait_for_selector("text=Sent back >> visible=true")
    bob.picture("sent-back")
    (transfer,) = till.sim.client().v1.transfers.list({}).data
    assert transfer.amount_reversed == 30_50
    alice.open("/sell/getting-paid/")
    alice.page.wait_for_selector("text=for a payer's refund")
    alice.picture("sent-and-taken-back")
    for each, firm in ((bob, till.scene.market.bob), (alice, till.scene.market.alice)):
        adds_up(each, firm)
    assert bob.troubles + alice.troubles + operator.troubles == []
    for each in (bob, alice, operator):
        each.close()


def test_a_lost_dispute_is_seen_by_whoever_paid_and_answered_by_an_operator(till):
    bob, operator, firm = till.visitor("bob", width=375), till.visitor("operator"), till.scene.market.bob
    before = adds_up(bob, firm)
    deposit = pay_by_card(till, bob, "40", DISPUTES)
    till.sim.sim("clock", {"advance": 60})
    till.tick()
    bob.open("/wallet/")
    bob.page.wait_for_selector("text=is disputed at your bank")
    bob.picture("disputed")
    bob.open(f"/wallet/deposits/{deposit.public_id}/")
    shown = bob.page.inner_text("main")
    assert "Disputed at your bank" in shown
    assert "Send back to the card" not in shown
    bob.open("/wallet/statement/?account=frozen")
    assert bob.page.inner_text("nav[aria-label=Account] [aria-current]") == "Frozen"
    assert "40.00 USD" in bob.page.inner_text("section[aria-label=Entries]")
    assert adds_up(bob, firm) == before + 40_000_000
    operator.open("/operator/payments/")
    operator.page.fill("textarea[name=words]", "losing_evidence")  # decides the case in Stripe's test mode
    operator.picture("evidence")
    operator.page.click("text=Send to the bank")
    operator.page.wait_for_selector("main .panel >> text=on its way to the bank")
    assert not operator.page.query_selector("textarea")
    till.tick()
    till.sim.sim("clock", {"advance": 3600})
    till.tick()
    operator.open("/operator/payments/")
    assert "Disputed:" not in operator.page.inner_text("main")
    bob.open("/wallet/")
    assert "is disputed" not in bob.page.inner_text("main")
    assert adds_up(bob, firm) == before
    assert bob.troubles + operator.troubles == []
    for each in (bob, operator):
        each.close()
