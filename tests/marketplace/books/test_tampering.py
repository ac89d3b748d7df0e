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
from marketplace.payments.models import (
    BankDetails,
    BankFile,
    BankStatement,
    Deposit,
    GatewayCall,
    GatewayNotice,
    Payout,
    PayoutApproval,
    PayoutFile,
)
from marketplace.payments.services import new_deposit
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

PAYMENTS = {
    "forget that a bank's file was imported": "DELETE FROM payments_bankfile",
    "let a bank's file be another": "UPDATE payments_bankfile SET sha256 = ''",
    "change what the bank says is there": "UPDATE payments_bankstatement SET closing_micros = closing_micros + 1",
    "change what the bank says was there": "UPDATE payments_bankstatement SET opening_micros = 0",
    "delete a statement": "DELETE FROM payments_bankstatement",
    "truncate the statements": "TRUNCATE payments_bankstatement CASCADE",
    "name another who sent the payouts": "UPDATE payments_payoutfile SET made_by_id = made_by_id + 1",
    "send payouts once more": "DELETE FROM payments_payoutfile",
    "say that another operator agreed": "UPDATE payments_payoutapproval SET operator_id = operator_id + 1",
    "take an approval back": "DELETE FROM payments_payoutapproval",
    "agree twice": """
        INSERT INTO payments_payoutapproval (payout_id, operator_id, at)
        SELECT payout_id, operator_id, now() FROM payments_payoutapproval
    """,
    "ask for less than nothing": "UPDATE payments_payout SET amount_micros = -amount_micros",
    "pay for the same reference twice": "UPDATE payments_payout SET reference = 'a'",
    "announce less than nothing": "UPDATE payments_deposit SET amount_micros = 0",
    "make a call twice": """
        INSERT INTO payments_gatewaycall (public_id, gateway, operation, subject, params, key, state, attempts,
            created_at, next_try_at, must_look, is_given_up, object_id, error_code, error)
        SELECT 'gwc_y', gateway, operation, subject, params, key, state, 0, now(), now(), false, false, '', '', ''
        FROM payments_gatewaycall
    """,
    "hear of an event twice": """
        INSERT INTO payments_gatewaynotice (public_id, gateway, event_id, type, object_type, object_id, account,
            source, happened_at, received_at, state, attempts, next_try_at, error)
        SELECT 'gwn_y', gateway, event_id, type, object_type, object_id, account, source, now(), now(), state, 0,
            now(), '' FROM payments_gatewaynotice
    """,
    "post past the ledger's own lock": """
        CREATE OR REPLACE FUNCTION fallow_lock_accounts(ids bigint[]) RETURNS void LANGUAGE sql AS 'SELECT'
    """,
    "post what does not sum to zero": """
        SELECT fallow_post('{jrn_z}', '{z}', '{x}', ARRAY[now()], '{""}', ARRAY['{}'::jsonb], '{1}', ARRAY[a.id], '{5}')
        FROM ledger_account a WHERE a.kind = 'wallet'
    """,
    "post into the closed month by the function": """
        SELECT fallow_post('{jrn_z}', '{z}', '{x}', '{2026-11-30}', '{""}', ARRAY['{}'::jsonb], '{1,1}',
            ARRAY[w.id, c.id], '{5,-5}')
        FROM ledger_account w, ledger_account c WHERE w.kind = 'wallet' AND c.kind = 'clearing'
    """,
    "post by the function to an account of another currency": """
        WITH other AS (INSERT INTO ledger_account (kind, currency, ref, is_running, balance_micros)
            VALUES ('clearing', 'EUR', 'x', false, 0) RETURNING id)
        SELECT fallow_post('{jrn_z}', '{z}', '{x}', '{2026-12-03}', '{""}', ARRAY['{}'::jsonb], '{1,1}',
            ARRAY[w.id, other.id], '{5,-5}')
        FROM ledger_account w, other WHERE w.kind = 'wallet'
    """,
    "post one that does not sum to zero": """
        SELECT fallow_post_one('jrn_z', 'z', 'x', now(), '', '{}', ARRAY[w.id, c.id], '{5,-4}')
        FROM ledger_account w, ledger_account c WHERE w.kind = 'wallet' AND c.kind = 'clearing'
    """,
    "post one with a single leg": """
        SELECT fallow_post_one('jrn_z', 'z', 'x', now(), '', '{}', ARRAY[a.id], '{5}')
        FROM ledger_account a WHERE a.kind = 'wallet'
    """,
    "post one without legs": "SELECT fallow_post_one('jrn_z', 'z', 'x', now(), '', '{}', '{}', '{}')",
    "post one into the closed month": """
        SELECT fallow_post_one('jrn_z', 'z', 'x', '2026-11-30', '', '{}', ARRAY[w.id, c.id], '{5,-5}')
        FROM ledger_account w, ledger_account c WHERE w.kind = 'wallet' AND c.kind = 'clearing'
    """,
    "post one against nobody": """
        SELECT fallow_post_one('jrn_z', 'z', 'x', now(), '', '{}', ARRAY[a.id, 0], '{5,-5}')
        FROM ledger_account a WHERE a.kind = 'wallet'
    """,
    "add legs of accounts that are not there": """
        WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
                   VALUES ('jrn_z', 'z', 'x', now(), '', '{}') RETURNING id)
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, leg, 'USD', leg FROM j, unnest('{-5,5}'::int[]) AS leg
    """,
    "replace the function of one": """
        CREATE OR REPLACE FUNCTION fallow_post_one(text, text, text, timestamptz, text, jsonb, bigint[], bigint[])
        RETURNS boolean LANGUAGE sql AS 'SELECT true'
    """,
}  # fmt: skip
FIRST_COLUMNS = """
SELECT DISTINCT c.relname, a.attname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
WHERE p.proname = 'fallow_append_only' AND t.tgname LIKE '%_append_only' ORDER BY 1
"""


def kept_tables():
    """What each table that is only added to refuses, whichever there are."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST_COLUMNS)
        tables = cursor.fetchall()
    assert len(tables) > 20
    return {
        f"{verb} {table}": statement.format(table=table, column=column)
        for table, column in tables
        for verb, statement in (
            ("change", "UPDATE {table} SET {column} = {column}"),
            ("delete from", "DELETE FROM {table}"),
            ("truncate", "TRUNCATE {table} CASCADE"),
        )
    }


@pytest.fixture
def books(transactional_db):
    """A wallet, an invoice of 100 micros, November closed, a request to reopen it; a bank's file, a payout, a call."""
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
    payments(firm, operator)


def payments(firm, operator):
    """A row or two of everything that payments keep."""
    file = BankFile.objects.create(sha256=b"x", name="x", bytes_count=1, imported_at=NOON)
    BankStatement.objects.create(
        file=file, account="x", currency="USD", from_on=NOON, to_on=NOON, opening_micros=1, closing_micros=2,
        lines_count=0, new_count=0,
    )  # fmt: skip
    details = BankDetails.objects.create(
        firm=firm, holder="x", sealed_account=b"x", created_by=operator, created_at=NOON, usable_at=NOON
    )
    sent = PayoutFile.objects.create(currency="USD", made_by=operator, made_at=NOON)
    for reference in ("a", "b"):
        payout = Payout.objects.create(
            firm=firm, currency="USD", amount_micros=1, bank_details=details, reference=reference, file=sent,
            created_at=NOON,
        )  # fmt: skip
    PayoutApproval.objects.create(payout=payout, operator=operator, at=NOON)
    new_deposit(firm, "wire", "USD", 1_000_000, "test", NOON)
    GatewayCall.objects.create(
        gateway="stripe", operation="refund", subject="x", params={}, key="x", created_at=NOON, next_try_at=NOON
    )
    GatewayNotice.objects.create(
        gateway="stripe", event_id="evt_x", type="x", object_type="x", object_id="x", source="sent", happened_at=NOON,
        received_at=NOON, next_try_at=NOON,
    )  # fmt: skip


KEPT = (
    Journal, Entry, Document, Series, PeriodLock, ReopenRequest, Snapshot, BankFile, BankStatement, Payout, PayoutFile,
    PayoutApproval, Deposit, GatewayCall, GatewayNotice,
)  # fmt: skip


def everything():
    """Every row of what must not change."""
    return [list(model.objects.order_by("pk").values()) for model in KEPT]


def test_every_statement_that_tampers_is_refused(books, tell):
    before, refused = everything(), []
    attacks = TAMPERING | BOOKS | PAYMENTS | kept_tables()
    for name, attack in attacks.items():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(attack)
        except DatabaseError as error:
            refused.append(name)
            assert "syntax" not in str(error) and "does not exist" not in str(error), (name, error)
    tell(f"{len(refused)} of {len(attacks)} statements that tamper were refused")
    assert set(refused) == set(attacks)
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
