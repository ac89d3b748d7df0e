"""A Fallow with a simulated Stripe, and the nightly comparison of both."""

from __future__ import annotations

import pytest

from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Difference, ReconciliationRun
from marketplace.payments.reconciliation.selectors import transit_of
from marketplace.payments.reconciliation.services.running import ask_run, work
from tests.factories import make_person
from tests.marketplace.payments.conftest import Here, here, stripesim

__all__ = ["here", "stripesim"]
DOLLAR = 1_000_000


class Night:
    """Compares, and says what came of it."""

    def __init__(self, here: Here) -> None:
        self.here, self.operator = here, make_person(is_operator=True)

    def run(self) -> ReconciliationRun:
        ask_run(operator=self.operator, gateway="stripe", now=self.here.now)
        assert work(lambda: self.here.now) == 1
        return ReconciliationRun.objects.latest("pk")

    def open(self) -> list[tuple[str, str, int]]:
        rows = Difference.objects.filter(state="open").order_by("pk")
        return [(row.kind, row.subject, row.off_micros) for row in rows]


def at_stripe(currency: str = "USD") -> int:
    """What the ledger says that Stripe has."""
    return -balance_micros(firm=None, kind=AccountKind.CLEARING, currency=currency, ref="stripe")


def suspense(currency: str = "USD") -> int:
    return balance_micros(firm=None, kind=AccountKind.SUSPENSE, currency=currency, ref="stripe")


def on_its_way(currency: str = "USD") -> int:
    account = transit_of("stripe", currency)
    return -balance_micros(firm=None, kind=AccountKind.CLEARING, currency=currency, ref=account.ref)


@pytest.fixture(autouse=True)
def _quick_hash(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a slow hash is Django's, not ours


@pytest.fixture
def night(here) -> Night:
    return Night(here)
