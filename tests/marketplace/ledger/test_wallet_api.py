from __future__ import annotations

import csv
import io
import os

import psycopg
import pytest
from django.db import connection, transaction

from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for, balances_after, statement
from marketplace.ledger.services import Leg, post
from tests.conftest import TEST_DATABASE
from tests.factories import NOON, api_of, fund, make_firm

WALLET, ESCROW = AccountKind.WALLET, AccountKind.ESCROW


def money(amount, currency="USD"):
    return {"amount": amount, "currency": currency}


def hold(firm, micros, ref):
    wallet = account_for(firm=firm, kind=WALLET, currency="USD")
    escrow = account_for(firm=firm, kind=ESCROW, currency="USD", ref=ref)
    legs = [Leg(wallet, -micros), Leg(escrow, micros)]
    post(ref=f"order:{ref}", code=Code.ORDER_ESCROW, legs=legs, now=NOON, subject=ref, data={"hours": 10})


@pytest.mark.django_db
def test_the_wallet_shows_each_currency():
    alice = make_firm()
    fund(alice, 10_000_000)
    fund(alice, 7, "EUR")
    hold(alice, 4_000_000, "ord_1")
    assert api_of(alice).get("/api/v1/wallet/").json()["data"] == [
        {"currency": "EUR", "available": money("0.000007", "EUR"), "reserved": money("0.000000", "EUR")}
        | dict.fromkeys(("earnings", "paying_out", "frozen"), money("0.000000", "EUR")),
        {"currency": "USD", "available": money("6.000000"), "reserved": money("4.000000")}
        | dict.fromkeys(("earnings", "paying_out", "frozen"), money("0.000000")),
    ]


@pytest.mark.django_db
def test_the_statement_has_a_balance_on_each_line_and_pages_through_all():
    alice, bob = make_firm(), make_firm()
    for firm in (alice, bob):
        fund(firm, 10_000_000)
    for number in range(4):
        hold(alice, 1_000_000, f"ord_{number}")
    client, lines, cursor = api_of(alice), [], None
    while True:
        query = {"kind": "wallet", "limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = client.get("/api/v1/wallet/statement/", query).json()
        lines += answer["data"]
        cursor = answer["next_cursor"]
        assert answer["has_more"] == (cursor is not None)
        if cursor is None:
            break
    balances = [line["balance_after"]["amount"] for line in lines]
    assert balances == ["6.000000", "7.000000", "8.000000", "9.000000", "10.000000"]
    assert lines[0]["subject"] == "ord_3"
    assert lines[0]["data"] == {"hours": 10}
    assert lines[0]["code"] == "order_escrow"
    assert lines[0]["journal"].startswith("jrn_")


def entries_read():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            " WHERE relname = 'ledger_entry'"
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_the_entries_behind_a_line_are_found_by_code_and_subject():
    alice = make_firm()
    fund(alice, 10_000_000)
    for number in range(3):
        hold(alice, 1_000_000, f"ord_{number}")
    client = api_of(alice)
    found = client.get("/api/v1/wallet/statement/", {"code": "order_escrow", "subject": "ord_1"}).json()["data"]
    assert [(line["subject"], line["kind"], line["balance_after"]["amount"]) for line in found] == [
        ("ord_1", "escrow", "1.000000"),
        ("ord_1", "wallet", "8.000000"),
    ]
    assert client.get("/api/v1/wallet/statement/", {"code": "deposit", "subject": "ord_1"}).json()["data"] == []
    assert client.get("/api/v1/wallet/statement/", {"code": "colour"}).status_code == 400


def analyse():
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], dbname=TEST_DATABASE, autocommit=True) as owner:
        owner.execute("ANALYZE ledger_entry, ledger_account, ledger_snapshot")


@pytest.mark.django_db(transaction=True)
def test_the_newest_page_does_not_read_the_whole_history():
    alice = make_firm()
    for _ in range(200):
        fund(alice, 1_000_000)
    analyse()
    newest = list(statement(firm=alice, kind=WALLET, currency="USD").order_by("-pk")[:3])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        before = entries_read()
        after = balances_after(newest)
        read = entries_read() - before
    assert [after[entry.pk] for entry in newest] == [200_000_000, 199_000_000, 198_000_000]
    assert read < 20


@pytest.mark.django_db
def test_the_statement_is_a_table_too():
    alice = make_firm()
    fund(alice, 5_000_000)
    answer = api_of(alice).get("/api/v1/wallet/statement/?format=csv")
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [(row["amount"], row["currency"], row["balance_after"]) for row in rows] == [("5.000000", "USD", "5.000000")]


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["kind=clearing", "colour=red", "cursor=%21", "limit=0", "limit=201"])
def test_it_refuses_a_filter_that_it_does_not_know(query):
    answer = api_of(make_firm()).get(f"/api/v1/wallet/statement/?{query}")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
