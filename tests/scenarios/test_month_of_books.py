"""A month of a buyer and a seller over HTTP: hours, a card sold, a card refunded. Statements, invoices and exports of
both add up to the micro, and so do they with each other."""

from __future__ import annotations

import io
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from marketplace.books.issuing import issue_due
from marketplace.books.services import close_books
from marketplace.compliance.tablefile import table_in_force
from marketplace.leases.models import Lease
from marketplace.ledger.models import Journal
from marketplace.ledger.snapshots import take_snapshots
from marketplace.settlement.audit import wrong_escrows
from tests.cards import USD, list_for_sale, photo
from tests.factories import make_person
from tests.market import Market
from tests.marketplace.books.test_exporting import check, missing

pytestmark = pytest.mark.django_db(transaction=True)
PARTS = ("free", "held", "earned", "total")
_keys = itertools.count(1)


class Month:
    """November: money comes in, two leases run, two cards are bought, one of them is refunded."""

    def __init__(self, clock) -> None:
        clock.at = datetime(2026, 11, 3, 9, tzinfo=UTC)
        self.clock, self.market = clock, Market(clock)
        self.operator = make_person(is_operator=True)
        self.back_office = Client()
        self.back_office.force_login(self.operator)
        self.seller, self.buyer = self.market.seller, self.market.buyer

    def post(self, client, path, body=None, status=200):
        """POST JSON and look at the status."""
        headers = {"Idempotency-Key": f"month-{next(_keys)}"}
        said = {"content_type": "application/json"} if client is self.back_office else {"format": "json"}
        answer = client.post(f"/api/v1/{path}", body or {}, headers=headers, **said)
        assert answer.status_code == status, answer.content
        return answer.json()

    def deposit(self, amount):
        """Bob announces money, an operator sees it."""
        deposit = self.post(self.buyer, "deposits/", {"amount": amount, "currency": "USD"}, 201)["id"]
        self.post(self.back_office, f"deposits/{deposit}/confirm/")

    def lease(self, host, seconds):
        """An order, some use of it, its end."""
        assert self.market.order(duration_seconds=3600).status_code == 201
        host.run_everything(self.clock.now())
        self.market.tick()
        self.market.run_for(seconds, host)
        self.market.end(Lease.objects.latest("pk"))
        host.stop_everything(self.clock.advance(5))
        for _ in range(4):
            self.market.run_for(120, host)
        assert Lease.objects.latest("pk").state == "ended"

    def buy_a_card(self, listing):
        """Bob buys one, Alice sends it, Bob has it."""
        take = {"ships_to": "FR", "address": "1 rue de la Carte", "max_total": "1200.00"}
        (sale,) = self.post(self.buyer, f"card-listings/{listing.public_id}/buy/", take, 201)["sales"]
        file = SimpleUploadedFile("x.jpg", photo(3), content_type="image/jpeg")
        label = self.seller.post(f"/api/v1/sales/{sale}/evidence/", {"file": file, "text": "label"}, format="multipart")
        body = {"carrier": "DHL", "tracking": "JD1", "label_photo": label.json()["id"]}
        self.post(self.seller, f"sales/{sale}/ship/", body)
        self.clock.advance(48 * 3600)
        self.post(self.buyer, f"sales/{sale}/receive/")
        return sale

    def run(self):
        """Everything that happens."""
        self.deposit("5000.00")
        hours, cards = self.market.host(), self.market.host(count=2)
        self.market.list_cards(hours, ask=399_001)
        self.lease(hours, 1500)
        self.lease(hours, 700)
        listing = list_for_sale(cards.cards, now=self.clock.now(), ask=1000 * USD)
        kept, refused = self.buy_a_card(listing), self.buy_a_card(listing)
        self.post(self.buyer, f"sales/{kept}/accept/")
        self.post(self.buyer, f"sales/{refused}/dispute/", {"text": "it is dead"})
        self.post(self.back_office, f"sales/{refused}/resolve/", {"ruling": "refund", "text": "dead"})
        return kept, refused


@pytest.fixture
def month(frozen, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[1] / "card_rules.yaml")
    table_in_force.cache_clear()
    yield Month(frozen)
    table_in_force.cache_clear()


def micros(money):
    return int(money["amount"].replace(".", ""))


def statement(client, since="2026-11-01", **query):
    """The month, which adds up by itself."""
    said = client.get("/api/v1/books/statement/", {"since": since, **query}).json()
    for part in PARTS:
        moved = sum(micros(line["moved"][part]) for line in said["lines"])
        assert micros(said["opening"][part]) + moved == micros(said["closing"][part])
    return said


def wallet(client):
    (line,) = client.get("/api/v1/wallet/").json()["data"]
    return [micros(line[name]) for name in ("available", "reserved", "earnings")]


def total(documents, kind):
    return sum(micros(each["total"]) for each in documents if each["kind"] == kind)


def test_both_statements_the_invoices_and_the_exports_add_up_to_the_micro(month, tmp_path, tell):
    kept, refused = month.run()
    month.clock.at = datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert issue_due(now=month.clock.now()) == 2
    take_snapshots(now=month.clock.now(), least=1)
    bought, sold = statement(month.buyer), statement(month.seller)
    for said, client in ((bought, month.buyer), (sold, month.seller)):
        assert [micros(said["closing"][part]) for part in PARTS[:3]] == wallet(client)
        assert statement(client, fold="day")["closing"] == said["closing"]
        assert statement(client, since="2026-12-01")["opening"] == said["closing"]
    sales = {(line["code"], line["subject"]): line for line in sold["lines"]}
    assert ("card_sale", kept) in sales and len(sales) == 3  # two leases and a card, however many settlements
    assert Journal.objects.filter(code="settlement").count() > 20
    refund = [line for line in bought["lines"] if (line["code"], line["subject"]) == ("card_refund", refused)]
    assert [micros(line["moved"]["total"]) for line in refund] == [0]
    documents = month.seller.get("/api/v1/documents/").json()["data"]
    assert total(documents, "purchase") == micros(sold["sold"]) == -spent(bought)
    assert total(documents, "fee_invoice") == micros(sold["fees"])
    assert micros(sold["sold"]) - micros(sold["fees"]) == micros(sold["closing"]["earned"])
    for client in (month.seller, month.buyer):
        for syntax in ("beancount", "hledger"):
            text = client.get("/api/v1/books/export/", {"syntax": syntax}).content.decode()
            if not missing(syntax):
                assert check(syntax, text, tmp_path) == ""
    tell(
        f"a month of books: sold {sold['sold']['amount']}, fees {sold['fees']['amount']}, spent {-spent(bought)} micros"
    )
    close_books(operator=month.operator, until=datetime(2026, 12, 1, tzinfo=UTC), now=month.clock.now())
    assert statement(month.seller) == sold
    for command in ("audit_ledger", "trial_balance", "audit_books"):
        call_command(command, stdout=io.StringIO())
    assert not wrong_escrows()
    assert month.clock.advance(timedelta(hours=1).total_seconds())


def spent(said):
    """What left the buyer for hours and cards."""
    return sum(
        micros(line["moved"]["total"]) for line in said["lines"] if line["code"] in {"settlement", "card_sale"}
    )  # fmt: skip
