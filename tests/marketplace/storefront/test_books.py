"""Statements, invoices and the operator's books on their pages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from marketplace.books.issuing import issue_due
from marketplace.books.models import Document
from marketplace.ledger.models import ReopenRequest
from marketplace.ledger.periods import closed_until
from tests.factories import make_firm, make_person
from tests.marketplace.books.trade import DECEMBER, NOVEMBER, Trade

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture
def trade(frozen):
    trade = Trade(frozen)
    trade.seller = make_person(trade.alice)
    trade.buyer = make_person(trade.bob)
    frozen.at = DECEMBER + timedelta(hours=2)
    issue_due(now=frozen.at)
    return trade


def text(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_seller_reads_the_month_and_looks_behind_a_line(client, trade):
    client.force_login(trade.seller)
    page = text(client.get(url("books"), {"since": "2026-11-01"}))
    assert "Opening balance" in page
    assert "Hours used" in page
    assert "in coins" in page
    assert "H100" in page
    line = {"since": "2026-11-01", "code": "settlement", "subject": trade.lease.public_id, "currency": "USD"}
    assert text(client.get(url("books-line"), line)).count("jrn_") > 10
    assert "Nothing of this" in text(client.get(url("books-line"), line | {"subject": "x\0"}))
    assert client.get(url("books"), {"since": "soon"}).status_code == 400
    file = client.get(url("books"), {"since": "2026-11-01", "file": "csv"})
    assert "attachment" in file["Content-Disposition"]
    assert client.get(url("books"), {"since": "2026-11-01", "file": "pdf"}).content.startswith(b"%PDF-")


def test_a_page_has_so_many_lines_and_says_so(client, trade, monkeypatch):
    client.force_login(trade.buyer)
    whole = text(client.get(url("books"), {"since": "2026-11-01"}))
    assert "lines: CSV" not in whole
    monkeypatch.setattr("marketplace.storefront.views.books.LINES_MAX", 2)
    page = text(client.get(url("books"), {"since": "2026-11-01"}))
    assert "2 of 4 lines: CSV and PDF have all of them" in page
    assert "Closing balance" in page
    assert page.count("books/line/") == 2


def test_a_line_tells_nothing_of_what_others_have_traded(client, trade):
    client.force_login(make_person(make_firm("Carol")))
    line = {"since": "2026-11-01", "code": "settlement", "subject": trade.lease.public_id}
    page = text(client.get(url("books-line"), line))
    assert "Nothing of this" in page
    assert "H100" not in page
    assert "Nothing of this" in text(client.get(url("books-line"), line | {"code": "\0"}))


def test_invoices_are_for_their_parties(client, trade):
    fee, purchase = Document.objects.order_by("kind")
    client.force_login(trade.buyer)
    page = text(client.get(url("documents")))
    assert purchase.number_text in page
    assert fee.number_text not in page
    assert "Of which rounding" in text(client.get(url("document", purchase.public_id)))
    assert client.get(url("document-pdf", purchase.public_id)).content.startswith(b"%PDF-")
    for name in ("document", "document-pdf"):
        assert client.get(url(name, fee.public_id)).status_code == 404


def test_the_operators_books_do_not_exist_for_others(client, trade):
    fee = Document.objects.get(kind="fee_invoice")
    client.force_login(trade.buyer)
    for name, *args in (
        ("operator-books",), ("operator-export", "hledger"), ("operator-document", fee.public_id),
        ("operator-document-pdf", fee.public_id),
    ):  # fmt: skip
        assert client.get(url(name, *args)).status_code == 404
    for name, *args in (("books-close",), ("books-reopen-ask",), ("books-reopen", "rop_x")):
        assert client.post(url(name, *args), {"until": "2026-12-01"}).status_code == 404
    assert closed_until().year == 1


@pytest.mark.django_db(transaction=True)
def test_an_operator_closes_and_two_reopen(client, trade):
    other = make_person(is_operator=True)
    client.force_login(trade.operator)
    assert "nothing is closed" in text(client.get(url("operator-books")))
    client.post(url("books-close"), {"until": "never"})
    client.post(url("books-close"), {"until": "2026-12-01"})
    assert closed_until() == DECEMBER
    client.post(url("books-reopen-ask"), {"until": "2026-11-01", "reason": "a wire was missed"})
    page = text(client.get(url("operator-books"), {"at": "2026-12-01"}))
    assert "waits for another operator" in page
    assert "which is wrong" not in page
    request_id = ReopenRequest.objects.get().public_id
    client.post(url("books-reopen", request_id))
    assert closed_until() == DECEMBER
    client.force_login(other)
    assert url("books-reopen", request_id) in text(client.get(url("operator-books")))
    client.post(url("books-reopen", request_id))
    assert closed_until() == NOVEMBER


def test_an_operator_issues_a_credit_note_once(client, trade):
    fee = Document.objects.get(kind="fee_invoice")
    client.force_login(trade.operator)
    page = url("operator-document", fee.public_id)
    assert "can still be taken back" in text(client.get(page))
    said = {"amount": "0.0001", "reason": "slow", "key": "abc"}
    assert client.post(page, said).status_code == client.post(page, said).status_code == 302
    note = Document.objects.get(kind="credit_note")
    assert f"Takes back a part of {fee.number_text}" in text(client.get(url("operator-document", note.public_id)))
    assert client.get(url("operator-document-pdf", note.public_id)).content.startswith(b"%PDF-")
    assert client.post(page, said | {"amount": "99", "key": "more"}).status_code == 422
