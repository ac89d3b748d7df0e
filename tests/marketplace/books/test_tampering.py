"""As the application's own database role: what tampers with the ledger, the documents or the lock is refused."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.utils import DatabaseError

from marketplace.books.issuing import create_document, series_of
from marketplace.books.models import Document, DocumentKind, Series
from marketplace.ledger.models import Entry, Journal, PeriodLock, ReopenRequest, Snapshot
from marketplace.ledger.periods import ask_to_reopen, close_until
from marketplace.ledger.snapshots import take_snapshots
from tests.factories import NOON, fund, make_firm, make_person
from tests.marketplace.books.trade import DECEMBER, NOVEMBER
from tests.marketplace.ledger.test_posting import TAMPERING

NOTE = """
INSERT INTO books_document (public_id, kind, series_id, number, issuer_id, recipient_id, refers_to_id, parties,
    currency, since, until, part, total_micros, tax_micros, lines, reason, issued_at)
SELECT 'doc_' || {number}, {kind}, {series}, {number}, NULL, d.recipient_id, {refers_to}, '{{}}', {currency}, d.since,
    d.until, {part}, {micros}, 0, jsonb_build_array(jsonb_build_object('amount_micros', {line}, 'tax_micros', 0)), '',
    now() FROM books_document d WHERE d.kind = 'fee_invoice'
"""
USUAL = {
    "kind": "'credit_note'", "series": "(SELECT id FROM books_series WHERE is_credit AND issuer_id IS NULL)",
    "number": "999", "refers_to": "d.id", "currency": "'USD'", "part": "0", "micros": "5", "line": "5",
}  # fmt: skip
LOCK = """
INSERT INTO ledger_periodlock (public_id, closed_until, through_entry, reason, operator_id, request_id, at)
SELECT 'lck_x', {until}, 0, '', {operator}, {request}, '2026-12-05' FROM ledger_periodlock l
"""
REOPEN = {"until": "'2026-10-01'", "operator": "l.operator_id", "request": "NULL"}
FORGED_REQUEST = """
WITH second AS (SELECT id FROM accounts_user WHERE NOT is_operator),
asked AS (INSERT INTO ledger_reopenrequest (public_id, closed_until, reason, operator_id, at, xact)
    SELECT 'rop_y', '2026-10-01', 'x', second.id, '2026-12-05', 1 FROM second RETURNING id)
INSERT INTO ledger_periodlock (public_id, closed_until, through_entry, reason, operator_id, request_id, at)
SELECT 'lck_y', '2026-10-01', 0, '', l.operator_id, asked.id, '2026-12-05' FROM ledger_periodlock l, asked
"""
INTO_NOVEMBER = """
WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
           VALUES ('jrn_x', 'x', 'x', '2026-11-30 23:59:59.999999Z', '', '{}') RETURNING id)
INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
SELECT j.id, a.id, 'USD', CASE WHEN a.kind = 'wallet' THEN 5 ELSE -5 END FROM j, ledger_account a
"""


OPERATORS = "FROM (SELECT id AS operator_id FROM accounts_user WHERE is_operator) l"


def note(**changes):
    return NOTE.format(**USUAL | changes)


def lock(**changes):
    return LOCK.format(**REOPEN | changes)


BOOKS = {
    "change an invoice": "UPDATE books_document SET total_micros = 1",
    "change its number": "UPDATE books_document SET number = number + 1",
    "change its lines": "UPDATE books_document SET lines = '[]'",
    "delete an invoice": "DELETE FROM books_document",
    "truncate the invoices": "TRUNCATE books_document CASCADE",
    "turn the numbers back": "UPDATE books_series SET last_number = 0",
    "delete a series": "DELETE FROM books_series",
    "credit more than the invoice": note(micros="101", line="101"),
    "credit what is no invoice": note(refers_to="NULL"),
    "credit in another currency": note(currency="'EUR'"),
    "hide a line": note(line="4"),
    "take a number of another issuer": note(series="(SELECT id FROM books_series WHERE issuer_id IS NOT NULL)"),
    "invoice a period twice": note(
        kind="'fee_invoice'", refers_to="NULL", series="(SELECT id FROM books_series WHERE prefix = 'FAL-')"
    ),
    "forget that a month was issued": "DELETE FROM books_issuedmonth",
    "no invoice trigger": "ALTER TABLE books_document DISABLE TRIGGER ALL",
    "count by itself": "ALTER SEQUENCE books_document_id_seq OWNED BY NONE",
    "book into the closed month": INTO_NOVEMBER,
    "change the lock": "UPDATE ledger_periodlock SET closed_until = '2026-01-01'",
    "delete the lock": "DELETE FROM ledger_periodlock",
    "truncate the lock": "TRUNCATE ledger_periodlock",
    "reopen alone": lock(),
    "agree with oneself": lock(request="(SELECT id FROM ledger_reopenrequest)"),
    "ask and agree in one go": FORGED_REQUEST,
    "reopen more than was asked": lock(
        until="'2026-01-01'", request="(SELECT id FROM ledger_reopenrequest)",
        operator="(SELECT id FROM accounts_user WHERE is_operator AND id <> l.operator_id)",
    ),
    "close the future": lock(until="'2030-01-01'"),
    "change who asked": "UPDATE ledger_reopenrequest SET operator_id = operator_id + 1",
    "let another lock stand in": "CREATE TEMPORARY TABLE ledger_periodlock AS SELECT * FROM public.ledger_periodlock"
    " WHERE false; " + INTO_NOVEMBER,
    "replace the guard of the lock": "CREATE OR REPLACE FUNCTION fallow_honest_journal() RETURNS trigger"
    " LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "invent a snapshot": """
        INSERT INTO ledger_snapshot (account_id, through_entry, newest_at, balance_micros, taken_at)
        SELECT e.account_id, max(e.id), max(j.at), 777, now()
        FROM ledger_entry e JOIN ledger_journal j ON j.id = e.journal_id GROUP BY 1
    """,
    "antedate a snapshot": """
        INSERT INTO ledger_snapshot (account_id, through_entry, newest_at, balance_micros, taken_at)
        SELECT account_id, max(id), '2026-01-01', sum(amount_micros), now() FROM ledger_entry GROUP BY 1
    """,
    "change a snapshot": "UPDATE ledger_snapshot SET balance_micros = 1",
    "delete a snapshot": "DELETE FROM ledger_snapshot",
}  # fmt: skip


@pytest.fixture
def books(transactional_db):
    """A wallet, an invoice of 100 micros, November closed, a request to reopen it."""
    firm, operator = make_firm(), make_person(is_operator=True)
    make_person(is_operator=True)
    make_person()
    fund(firm, 5_000_000)
    take_snapshots(now=NOON, least=1)
    fund(firm, 1)
    line = {"subject": "x", "code": "settlement", "what": "Fee", "amount_micros": 100, "tax_micros": 0}
    create_document(
        kind=DocumentKind.FEE_INVOICE, issuer=None, recipient=firm, currency="USD", since=NOVEMBER, until=DECEMBER,
        lines=[line], actor="test", now=DECEMBER,
    )  # fmt: skip
    for issuer in (None, firm):
        series_of(issuer, is_credit=True)
    close_until(operator=operator, until=DECEMBER, now=DECEMBER + timedelta(days=1))
    ask_to_reopen(operator=operator, until=NOVEMBER - timedelta(days=31), reason="x", now=DECEMBER + timedelta(days=1))


def everything():
    """Every row of what must not change."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (Journal, Entry, Document, Series, PeriodLock, ReopenRequest, Snapshot)
    ]


def test_every_statement_that_tampers_is_refused(books, tell):
    before, refused = everything(), []
    for name, attack in (TAMPERING | BOOKS).items():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(attack)
        except DatabaseError as error:
            refused.append(name)
            assert "syntax" not in str(error) and "does not exist" not in str(error), (name, error)
    tell(f"{len(refused)} of {len(TAMPERING | BOOKS)} statements that tamper were refused")
    assert set(refused) == set(TAMPERING | BOOKS)
    assert everything() == before


def test_an_older_view_books_nothing_into_a_month_that_was_closed_meanwhile(transactional_db):
    """A transaction that began before the close sees no lock, however long it waits."""
    fund(make_firm(), 5)
    operator = make_person(is_operator=True)

    def close():
        close_until(operator=operator, until=DECEMBER, now=DECEMBER + timedelta(days=1))
        connections.close_all()

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert not PeriodLock.objects.exists()
        closer = threading.Thread(target=close)
        closer.start()
        closer.join()
        assert not PeriodLock.objects.exists()
        for attack in (INTO_NOVEMBER, lock(until="'2026-11-01'").replace("FROM ledger_periodlock l", OPERATORS)):
            with pytest.raises(DatabaseError, match="read what is committed"), transaction.atomic():
                cursor.execute(attack)
    assert PeriodLock.objects.count() == Journal.objects.count() == 1


def test_what_is_honest_passes_the_same_guards(books):
    """The statements above fail for what is wrong in them and for nothing else."""
    other = "(SELECT id FROM accounts_user WHERE is_operator AND id <> l.operator_id)"
    with connection.cursor() as cursor:
        cursor.execute(note())
        cursor.execute(INTO_NOVEMBER.replace("11-30 23:59:59.999999Z", "12-01 00:00:00Z"))
        cursor.execute(lock(request="(SELECT id FROM ledger_reopenrequest)", operator=other))
    assert Document.objects.get(kind="credit_note").number == 1
    assert PeriodLock.objects.order_by("pk").last().closed_until.month == 10
