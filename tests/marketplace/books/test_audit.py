"""The audit finds what PostgreSQL would never have let in: planted by the owner, with the guards off."""

from __future__ import annotations

import io
import os
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from marketplace.books.issuing import issue_due
from marketplace.books.models import Document
from marketplace.books.selectors import trial_balance
from marketplace.books.services import close_books, issue_credit_note
from marketplace.ledger.snapshots import take_snapshots
from tests.conftest import TEST_DATABASE
from tests.factories import NOON, fund, make_firm
from tests.marketplace.books.trade import DECEMBER, Trade
from tests.marketplace.ledger.test_wallet_api import analyse, entries_read
from tests.waiting import let_older_transactions_end

TABLES = ("books_document", "books_series", "ledger_entry", "ledger_account", "ledger_journal")
PLANTS = {
    "about no lease and no sale": """
        UPDATE ledger_journal SET subject = 'lse_x'
        WHERE id = (SELECT max(id) FROM ledger_journal WHERE code = 'settlement')
    """,
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


@pytest.mark.django_db(transaction=True)
def test_the_trial_balance_of_now_reads_no_entry_of_a_firms(frozen):
    """The operator's page begins with it; the ledger behind it grows without end."""
    firms = [make_firm() for _ in range(3)]
    for number in range(300):
        fund(firms[number % 3], 1_000_000)
    let_older_transactions_end()
    take_snapshots(now=NOON + timedelta(days=1), least=1)
    fund(firms[0], 5)
    analyse()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        before = entries_read()
        rows = trial_balance()
        read = entries_read() - before
    assert [(row.kind, row.accounts_count, row.balance_micros) for row in rows] == [
        ("clearing", 1, -300_000_005), ("wallet", 3, 300_000_005)
    ]  # fmt: skip
    assert rows == trial_balance(NOON + timedelta(days=2)) == trial_balance(currency="USD")
    assert {row.balance_micros for row in trial_balance(NOON - timedelta(days=1))} == {0}
    assert trial_balance(currency="EUR") == []
    assert read < 20


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
