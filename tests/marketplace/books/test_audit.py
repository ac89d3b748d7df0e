"""The audit finds what PostgreSQL would never have let in: planted by the owner, with the guards off."""

from __future__ import annotations

import io
import os
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command

from marketplace.books.issuing import issue_due
from marketplace.books.models import Document
from marketplace.books.services import close_books, issue_credit_note
from tests.conftest import TEST_DATABASE
from tests.marketplace.books.trade import DECEMBER, Trade

TABLES = ("books_document", "books_series", "ledger_entry", "ledger_account")
PLANTS = {
    "series with gaps": "UPDATE books_document SET number = 7 WHERE kind = 'purchase'",
    "lines do not sum": "UPDATE books_document SET total_micros = total_micros + 1 WHERE kind = 'purchase'",
    "credit notes exceed": """
        UPDATE books_document SET total_micros = 1, lines = '[{"amount_micros": 1, "tax_micros": 0}]'
        WHERE kind = 'fee_invoice'
    """,
    "moved no money": "UPDATE ledger_entry SET amount_micros = amount_micros + 1 WHERE amount_micros = 5",
    "not what was charged": """
        UPDATE books_document SET total_micros = 9, lines = '[{"amount_micros": 9, "tax_micros": 0}]'
        WHERE kind = 'purchase'
    """,
}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def closed(frozen):
    """November: two invoices, a credit note of 5 micros, closed."""
    trade, now = Trade(frozen), DECEMBER + timedelta(hours=2)
    issue_due(now=now)
    fee = Document.objects.get(kind="fee_invoice")
    issue_credit_note(
        operator=trade.operator, document_id=fee.public_id, amount_micros=5, reason="x", key="k", now=now
    )  # fmt: skip
    close_books(operator=trade.operator, until=DECEMBER, now=now)


def audit():
    out = io.StringIO()
    try:
        call_command("audit_books", stdout=out)
    except CommandError:
        return False, out.getvalue()
    return True, out.getvalue()


def test_honest_books_are_clean(closed):
    assert audit() == (True, "3 documents are clean\n")


@pytest.mark.parametrize("finding", PLANTS)
def test_it_finds_a_planted_difference(closed, finding):
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE) as owner:
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        assert owner.execute(PLANTS[finding]).rowcount
        for table in TABLES:
            owner.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    clean, text = audit()
    assert not clean
    assert finding in text
