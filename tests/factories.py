"""Small builders of real rows, through the real services where one exists."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from rest_framework.test import APIClient

from marketplace.accounts.models import Firm, User
from marketplace.accounts.roles import Scope
from marketplace.accounts.services import FirmDetails, add_member, create_api_key, create_firm, create_user
from marketplace.books.issuing import create_document
from marketplace.books.models import Document, DocumentKind
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


def make_key(firm: Firm, *scopes: str) -> str:
    """The text of a new key of the firm."""
    return create_api_key(firm=firm, name="test", scopes=scopes or ("read",), now=NOON)[1]


def make_person(firm: Firm | None = None, role: str = "owner", *, is_operator: bool = False) -> User:
    """Somebody who can sign in, with a role in the firm if there is one."""
    user = create_user(
        email=f"person{next(_numbers)}@example.com", password="correct horse battery", is_operator=is_operator
    )
    if firm is not None:
        add_member(firm=firm, user=user, role=role, actor="test", now=NOON)
    return user


def api_of(firm: Firm, *scopes: str) -> APIClient:
    """A client that sends a key of the firm; every scope unless some are named."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_key(firm, *(scopes or Scope.values))}")
    return client


def fee_invoice(firm: Firm, micros: int = 100) -> Document:
    """What the platform says it took from a firm in November."""
    line = {"subject": "lse_x", "code": "settlement", "what": "Fee", "amount_micros": micros, "tax_micros": 0}
    return create_document(
        kind=DocumentKind.FEE_INVOICE, issuer=None, recipient=firm, currency="USD", lines=[line], actor="test",
        since=NOON.replace(day=1, hour=0), until=NOON.replace(month=12, day=1, hour=0), now=NOON,
    )  # fmt: skip
