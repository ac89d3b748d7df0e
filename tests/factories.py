"""Small builders of real rows, through the real services where one exists."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from marketplace.accounts.models import Firm
from marketplace.accounts.services import FirmDetails, create_firm
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_numbers = itertools.count(1)


def make_firm(name: str = "", country: str = "DE") -> Firm:
    """A firm without members."""
    details = FirmDetails(
        name=name or f"Firm {next(_numbers)}", headquarters_country=country, intended_use="training of models"
    )
    return create_firm(details=details, now=NOON)


def fund(firm: Firm, micros: int, currency: str = "USD") -> None:
    """Put money from outside into a firm's wallet."""
    clearing = account_for(firm=None, kind=AccountKind.CLEARING, currency=currency, ref="test")
    wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency=currency)
    post(
        ref=f"test-deposit-{next(_numbers)}",
        code=Code.DEPOSIT,
        legs=[Leg(clearing, -micros), Leg(wallet, micros)],
        now=NOON,
    )
