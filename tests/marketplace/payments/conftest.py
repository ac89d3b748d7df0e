"""Stripe's simulator, and a Fallow that is set up for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from marketplace.common import clock
from marketplace.payments import inbox, inbox_worker
from marketplace.payments.models import Deposit, GatewayCall
from marketplace.payments.outbox_worker import work_one
from marketplace.payments.services import start_deposit
from tests.stripesim import Simulated, receiver, stripesim

__all__ = ["receiver", "stripesim"]
KEY = "sk_test_fallow"
SECRET = "whsec_of_the_tests"


@dataclass
class Here:
    """This Fallow and its simulator; `now` is the time that both have, until `advance` moves it."""

    sim: Simulated
    now: datetime

    def advance(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        self.sim.sim("clock", {"advance": int(timedelta(**span).total_seconds())})
        return self.now

    def fault(self, *faults: str, **more) -> None:
        self.sim.sim("faults", {"next": [{"fault": each, **more} for each in faults]})

    def work(self) -> int:
        """Makes every call that is due, and all that become due by it."""
        made = 0
        while work_one(now=self.now):
            made += 1
        return made

    def work_through(self) -> int:
        """As `work`, moving the clock on until nothing waits any more."""
        made = self.work()
        while waiting := GatewayCall.objects.filter(state="waiting", followers=None).order_by("next_try_at").first():
            step = max((waiting.next_try_at - self.now).total_seconds(), 0)
            self.now += timedelta(seconds=step)
            if not (more := self.work()):
                break
            made += more
        return made

    def look(self) -> int:
        """Looks at everything of which there is a notice."""
        seen = 0
        while inbox_worker.work_one(now=self.now):
            seen += 1
        return seen

    def pay(self, deposit: Deposit, card: str = "pm_card_visa") -> None:
        """The visitor of the hosted page chooses a card and presses the button."""
        deposit.refresh_from_db()
        self.sim.ask("POST", "/checkout/" + deposit.page_id, f"card={card}")

    def hear(self) -> None:
        """Everything that Stripe lists, as if it had been sent, and booked."""
        inbox.fill_gaps(now=self.now)
        self.look()

    def paid(self, firm, micros: int = 100_000_000, currency: str = "USD", key: str = "k", card: str = "pm_card_visa"):
        """A deposit by card that is in the wallet."""
        deposit = self.deposit(firm, micros, currency, key)
        self.work()
        self.pay(deposit, card)
        self.hear()
        deposit.refresh_from_db()
        return deposit

    def deposit(self, firm, micros: int = 100_000_000, currency: str = "USD", key: str = "k") -> Deposit:
        return start_deposit(
            firm=firm, currency=currency, amount_micros=micros, idempotency_key=key, now=self.now, gateway="stripe"
        )[0]


@pytest.fixture
def here(stripesim: Simulated, settings, monkeypatch) -> Here:
    settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL = KEY, stripesim.url
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_CURRENCIES = ["USD", "EUR", "JPY", "KWD"]
    settings.CURRENCIES = ["USD", "EUR", "JPY", "KWD"]
    settings.PAYOUT_RESERVE_BASIS_POINTS = 0
    settings.CARD_SEASON_DAYS = 0  # what is against fraud is tested by itself
    no_limit = dict.fromkeys(settings.CURRENCIES, 10**15)
    settings.CARD_FIRST_LIMITS = settings.CARD_DAY_LIMITS = settings.CARD_WEEK_LIMITS = no_limit
    settings.CARD_DEPOSITS_PER_DAY_MAX = settings.CARDS_PER_WEEK_MAX = 10**6
    settings.THREE_D_SECURE = "automatic"
    found = Here(stripesim, datetime.now(UTC))
    monkeypatch.setattr(clock, "now", lambda: found.now)
    return found
