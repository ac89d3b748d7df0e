from __future__ import annotations

import threading

import pytest
from django.db import connection, connections, transaction
from django.db.utils import DatabaseError, IntegrityError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.ledger.models import Account, AccountKind, Code, Entry, Journal
from marketplace.ledger.selectors import account_for, balance_micros, balances_after, entries_total, statement
from marketplace.ledger.services import InsufficientFunds, Leg, Posting, post, post_many
from tests.factories import NOON, fund, make_firm

WAITS = "SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
WALLET, ESCROW = AccountKind.WALLET, AccountKind.ESCROW


def move(firm, micros, ref="order:1"):
    wallet = account_for(firm=firm, kind=WALLET, currency="USD")
    escrow = account_for(firm=firm, kind=ESCROW, currency="USD", ref="ord_1")
    return post(ref=ref, code=Code.ORDER_ESCROW, legs=[Leg(wallet, -micros), Leg(escrow, micros)], now=NOON)


@pytest.mark.django_db
def test_a_posting_moves_money_and_keeps_the_sum():
    alice = make_firm()
    fund(alice, 5_000_000)
    assert move(alice, 2_000_000)
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 3_000_000
    assert balance_micros(firm=alice, kind=ESCROW, currency="USD", ref="ord_1") == 2_000_000
    assert sum(Entry.objects.values_list("amount_micros", flat=True)) == 0


@pytest.mark.django_db
def test_the_same_ref_posts_once():
    alice = make_firm()
    fund(alice, 5_000_000)
    assert move(alice, 2_000_000)
    assert not move(alice, 2_000_000)
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 3_000_000


@pytest.mark.django_db
def test_it_refuses_to_overdraw_and_changes_nothing():
    alice = make_firm()
    fund(alice, 1_000_000)
    with pytest.raises(InsufficientFunds), transaction.atomic():
        move(alice, 1_000_001)
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 1_000_000
    assert not Journal.objects.filter(ref="order:1").exists()


@pytest.mark.django_db
def test_a_statement_shows_the_balance_after_each_entry():
    alice = make_firm()
    fund(alice, 5_000_000)
    move(alice, 2_000_000)
    entries = list(statement(firm=alice, kind=WALLET, currency="USD").order_by("pk"))
    after = balances_after(entries)
    assert [after[entry.pk] for entry in entries] == [5_000_000, 3_000_000]


TAMPERING = {
    "change an entry": "UPDATE ledger_entry SET amount_micros = amount_micros + 1",
    "delete an entry": "DELETE FROM ledger_entry",
    "truncate the entries": "TRUNCATE ledger_entry CASCADE",
    "change a journal": "UPDATE ledger_journal SET code = 'x'",
    "delete a journal": "DELETE FROM ledger_journal",
    "write a balance": "UPDATE ledger_account SET balance_micros = 10",
    "delete an account": "DELETE FROM ledger_account",
    "post a one-legged journal": """
        WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
                   VALUES ('jrn_x', 'x', 'x', now(), '', '{}') RETURNING id)
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'USD', 5 FROM j, ledger_account a WHERE a.kind = 'wallet'; SET CONSTRAINTS ALL IMMEDIATE
    """,
    "post an empty journal": """
        INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
        VALUES ('jrn_x', 'x', 'x', now(), '', '{}'); SET CONSTRAINTS ALL IMMEDIATE
    """,
    "add a leg after the check": """
        WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
                   VALUES ('jrn_x', 'x', 'x', now(), '', '{}') RETURNING id)
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'USD', CASE WHEN a.kind = 'wallet' THEN 5 ELSE -5 END FROM j, ledger_account a;
        SET CONSTRAINTS ALL IMMEDIATE;
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'USD', 1000000 FROM ledger_journal j, ledger_account a
        WHERE j.ref = 'x' AND a.kind = 'wallet'
    """,
    "let other tables stand in": """
        CREATE TEMPORARY TABLE ledger_entry AS SELECT 1 AS id, e.journal_id, e.currency, 0 AS amount_micros
            FROM public.ledger_entry e WHERE false;
        CREATE TEMPORARY TABLE ledger_account AS SELECT * FROM public.ledger_account;
        WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
                   VALUES ('jrn_x', 'x', 'x', now(), '', '{}') RETURNING id),
        shown AS (INSERT INTO pg_temp.ledger_entry SELECT n, j.id, 'USD', 0 FROM j, generate_series(1, 2) n)
        INSERT INTO public.ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'USD', -777 FROM j, public.ledger_account a WHERE a.kind = 'wallet';
        SET CONSTRAINTS ALL IMMEDIATE
    """,
    "add to an old journal": """
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'USD', 5 FROM ledger_journal j, ledger_account a
    """,
    "mix currencies": """
        WITH j AS (INSERT INTO ledger_journal (public_id, ref, code, at, subject, data)
                   VALUES ('jrn_x', 'x', 'x', now(), '', '{}') RETURNING id)
        INSERT INTO ledger_entry (journal_id, account_id, currency, amount_micros)
        SELECT j.id, a.id, 'EUR', CASE WHEN a.kind = 'wallet' THEN 5 ELSE -5 END FROM j, ledger_account a
    """,
    "drop a trigger": "DROP TRIGGER ledger_entry_posted ON ledger_entry",
    "switch the triggers off": "ALTER TABLE ledger_entry DISABLE TRIGGER USER",
    "replace a guard": "CREATE OR REPLACE FUNCTION fallow_append_only() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "skip the triggers": "SET session_replication_role = replica",
    "become the owner": "SET ROLE fallow_owner",
    "change an event": "UPDATE events_event SET type = 'x'",
    "delete an event": "DELETE FROM events_event",
    "add a column": "ALTER TABLE ledger_entry ADD COLUMN x int",
    "drop the table": "DROP TABLE ledger_entry",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attack", TAMPERING)
def test_the_runtime_role_cannot_tamper(attack):
    alice = make_firm()
    fund(alice, 5_000_000)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAMPERING[attack])
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 5_000_000
    assert Entry.objects.count() == 2


@pytest.mark.django_db
def test_a_new_account_cannot_begin_with_money():
    account = Account.objects.create(firm=make_firm(), kind=WALLET, currency="USD", is_running=True, balance_micros=99)
    account.refresh_from_db()
    assert account.balance_micros == 0


@pytest.mark.django_db(transaction=True)
def test_an_unbalanced_journal_is_refused_at_commit():
    alice = make_firm()
    wallet = account_for(firm=alice, kind=WALLET, currency="USD")
    with pytest.raises(IntegrityError, match="not balanced"), transaction.atomic():
        journal = Journal.objects.create(ref="bad", code=Code.DEPOSIT, at=NOON)
        Entry.objects.create(journal=journal, account=wallet, currency="USD", amount_micros=7)


@pytest.mark.django_db(transaction=True)
def test_postings_in_opposite_order_do_not_deadlock():
    alice, bob = make_firm(), make_firm()
    for firm in (alice, bob):
        fund(firm, 100_000_000)
    errors: list[Exception] = []

    def pay_back_and_forth(payer, payee, name):
        try:
            for number in range(20):
                legs = [
                    Leg(account_for(firm=payer, kind=WALLET, currency="USD"), -1_000),
                    Leg(account_for(firm=payee, kind=WALLET, currency="USD"), 1_000),
                ]
                post(ref=f"{name}:{number}", code=Code.CORRECTION, legs=legs, now=NOON)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=pay_back_and_forth, args=each) for each in ((alice, bob, "ab"), (bob, alice, "ba"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 100_000_000


@pytest.mark.django_db
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.integers(min_value=1, max_value=3_000_000), max_size=8))
def test_any_sequence_agrees_with_a_plain_sum(moves):
    with transaction.atomic():
        alice = make_firm()
        fund(alice, 5_000_000)
        wallet, escrow = 5_000_000, 0
        for number, micros in enumerate(moves):
            if micros > wallet:
                with pytest.raises(InsufficientFunds), transaction.atomic():
                    move(alice, micros, ref=f"{alice.pk}:{number}")
                continue
            move(alice, micros, ref=f"{alice.pk}:{number}")
            wallet, escrow = wallet - micros, escrow + micros
        account = account_for(firm=alice, kind=WALLET, currency="USD")
        account.refresh_from_db()
        assert account.balance_micros == wallet == entries_total(account)
        assert balance_micros(firm=alice, kind=ESCROW, currency="USD", ref="ord_1") == escrow


@pytest.mark.django_db
def test_many_journals_are_posted_together_or_not_at_all():
    alice = make_firm()
    fund(alice, 5_000_000)
    wallet, other = (account_for(firm=alice, kind=kind, currency="USD") for kind in (WALLET, AccountKind.EARNINGS))

    def posting(number, micros):
        return Posting(f"many:{number}", Code.CORRECTION, (Leg(wallet, -micros), Leg(other, micros)), "", {"n": number})

    post_many([posting(number, number * 1_000_000) for number in (1, 2)], now=NOON)
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 2_000_000
    with pytest.raises(IntegrityError, match="many:2"), transaction.atomic():
        post_many([posting(2, 1), posting(3, 1)], now=NOON)
    with pytest.raises(InsufficientFunds):  # each of them alone could be paid
        post_many([posting(4, 1_500_000), posting(5, 1_500_000)], now=NOON)
    assert balance_micros(firm=alice, kind=WALLET, currency="USD") == 2_000_000
    assert list(Journal.objects.filter(ref__startswith="many").order_by("pk").values_list("ref", "data__n")) == [
        ("many:1", 1),
        ("many:2", 2),
    ]


@pytest.mark.django_db(transaction=True)
def test_of_two_that_post_the_same_ref_at_the_same_time_one_does():
    """They share no account that keeps a balance, so no lock of ours is between them."""
    outside = [account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref=ref) for ref in ("a", "b")]
    found = []

    def late():
        found.append(post(ref="same", code=Code.CORRECTION, legs=legs, now=NOON))
        connections.close_all()

    legs = [Leg(outside[0], -5), Leg(outside[1], 5)]
    second = threading.Thread(target=late)
    with transaction.atomic():
        assert post(ref="same", code=Code.CORRECTION, legs=legs, now=NOON)
        second.start()
        with connection.cursor() as cursor:
            cursor.execute(WAITS)
            while cursor.fetchone() is None:
                cursor.execute("SELECT pg_sleep(0.01)")
                cursor.execute(WAITS)
    second.join()
    assert found == [False]
    assert Entry.objects.count() == 2
