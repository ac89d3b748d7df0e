"""The books over the API: what a firm sees of its own, and what only an operator may."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client

from marketplace.books.issuing import issue_due
from marketplace.books.models import Document
from tests.factories import api_of, make_firm
from tests.marketplace.books.trade import DECEMBER, Trade


@pytest.fixture
def invoiced(trade):
    issue_due(now=DECEMBER + timedelta(hours=1))
    return trade


@pytest.fixture
def operators_api(invoiced):
    client = Client()
    client.force_login(invoiced.operator)
    return client


def micros(money):
    return int(money["amount"].replace(".", ""))


def test_the_statement_adds_up_in_every_format(invoiced):
    for firm in (invoiced.alice, invoiced.bob):
        client = api_of(firm)
        said = client.get("/api/v1/books/statement/", {"since": "2026-11-01"}).json()
        for part in ("free", "held", "earned", "total"):
            moved = sum(micros(line["moved"][part]) for line in said["lines"])
            assert micros(said["opening"][part]) + moved == micros(said["closing"][part])
            assert moved == sum(micros(total["moved"][part]) for total in said["totals"])
        exact, coins = micros(said["closing"]["total"]), said["closing_in_coins"]
        assert int(coins["amount"]["amount"].replace(".", "")) * 10_000 - micros(coins["rounding"]) == exact
        answer = client.get("/api/v1/books/statement/", {"since": "2026-11-01", "format": "csv"})
        assert answer["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
        assert rows[-1]["total"] == said["closing"]["total"]["amount"]
        assert len(rows) == len(said["lines"]) + 2
        sheet = client.get("/api/v1/books/statement/", {"since": "2026-11-01", "format": "pdf"})
        assert (sheet["Content-Type"], sheet.content[:5]) == ("application/pdf", b"%PDF-")


def test_a_statement_by_day_and_of_a_part_of_the_month(invoiced):
    client = api_of(invoiced.alice)
    query = {"since": "2026-11-23", "until": "2026-11-24", "fold": "day"}
    (line,) = client.get("/api/v1/books/statement/", query).json()["lines"]
    assert line["day"] == "2026-11-23"
    assert client.get("/api/v1/books/statement/", query | {"until": "2026-11-23"}).status_code == 400
    assert client.get("/api/v1/books/statement/", {"colour": "red"}).status_code == 400
    assert client.get("/api/v1/books/statement/", {"since": "yesterday", "format": "csv"}).status_code == 400
    before = client.get("/api/v1/books/statement/", {"until": "2026-11-23"}).json()
    assert (before["lines"], micros(before["closing"]["total"])) == ([], 0)


def test_documents_are_seen_by_both_sides_and_nobody_else(invoiced):
    seller, buyer = api_of(invoiced.alice), api_of(invoiced.bob)
    kinds = [each["kind"] for each in seller.get("/api/v1/documents/").json()["data"]]
    assert sorted(kinds) == ["fee_invoice", "purchase"]
    (bought,) = buyer.get("/api/v1/documents/").json()["data"]
    assert (bought["kind"], bought["issuer"]["name"], micros(bought["total"])) == (
        "purchase", "Alice", invoiced.lease.settled_micros
    )  # fmt: skip
    assert sum(micros(line["amount"]) for line in bought["lines"]) == micros(bought["total"])
    sheet = buyer.get(f"/api/v1/documents/{bought['id']}/", {"format": "pdf"})
    assert (sheet["Content-Type"], sheet.content[:5]) == ("application/pdf", b"%PDF-")
    assert sheet.content == buyer.get(f"/api/v1/documents/{bought['id']}/", {"format": "pdf"}).content
    for path in (bought["id"], Document.objects.get(kind="fee_invoice").public_id):
        assert api_of(make_firm()).get(f"/api/v1/documents/{path}/").status_code == 404
    assert buyer.get("/api/v1/documents/", {"kind": "fee_invoice"}).json()["data"] == []


def credit(client, document, amount="0.000100", key="k"):
    return client.post(
        f"/api/v1/documents/{document.public_id}/credit/", {"amount": amount, "reason": "slow"},
        content_type="application/json", headers={"Idempotency-Key": key} if key else {},
    )  # fmt: skip


def test_an_operator_credits_once_per_key(invoiced, operators_api):
    fee = Document.objects.get(kind="fee_invoice")
    first, again = credit(operators_api, fee), credit(operators_api, fee)
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert first.json()["refers_to"] == fee.public_id
    assert credit(operators_api, fee, key=None).status_code == 400
    assert credit(operators_api, fee, amount="0.000101").status_code == 422
    assert credit(operators_api, fee, amount="99.00", key="more").status_code == 400
    assert Document.objects.filter(kind="credit_note").count() == 1


def test_the_trial_balance_is_zero_and_for_operators(invoiced, operators_api):
    said = operators_api.get("/api/v1/books/trial-balance/").json()
    assert said["sums"] == [{"amount": "0.000000", "currency": "USD"}]
    assert {row["kind"] for row in said["data"]} >= {"wallet", "escrow", "earnings", "clearing", "platform_fee"}
    assert any(micros(row["balance"]) for row in said["data"])
    before = operators_api.get("/api/v1/books/trial-balance/", {"at": "2026-11-23", "currency": "USD"}).json()
    assert {row["balance"]["amount"] for row in before["data"]} == {"0.000000"}
    assert api_of(invoiced.alice).get("/api/v1/books/trial-balance/").status_code == 403
    out = io.StringIO()
    call_command("trial_balance", stdout=out)
    assert "USD sum 0.000000" in out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_firm_takes_its_books_away(frozen):
    trade = Trade(frozen)
    client = api_of(trade.bob)
    text = client.get("/api/v1/books/export/", {"syntax": "hledger"}).content.decode()
    assert "Assets:Fallow:Wallet" in text
    assert trade.alice.public_id.partition("_")[2] not in text
    assert client.get("/api/v1/books/export/", {"syntax": "ledger"}).status_code == 400
    assert client.get("/api/v1/books/export/").status_code == 400
