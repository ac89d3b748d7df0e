"""A card sold from end to end: signed passports on both hosts, everything else over HTTP, then both statements."""

from __future__ import annotations

import io
import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from marketplace.common.errors import NotFound
from marketplace.compliance.tablefile import table_in_force
from marketplace.sales.services.arrivals import notice_arrivals
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.silences import advance_sales
from marketplace.settlement.audit import wrong_escrows
from nodes.models import Card, IdentityConflict
from tests.cards import USD, photo
from tests.factories import api_of, fund, make_firm, make_person
from tests.nodes.passports.measuring import Measurer

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = "GPU-0000abcd-0000-4000-8000-00000000beef"
_keys = itertools.count(1)


class Deal:
    """Alice has measured a card, listed it through the API with photos, and Bob has bought it."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.alice, self.bob = make_firm("Alice"), make_firm("Bob")
        fund(self.bob, 5000 * USD)
        self.seller, self.buyer = api_of(self.alice), api_of(self.bob)
        self.host = Measurer(clock.now(), self.alice)
        self.host.measure(clock.now())
        self.card = Card.objects.get()
        self.sale = self.sell()

    def post(self, client, path, body=None, status=200):
        """POST JSON and look at the status."""
        headers = {"Idempotency-Key": f"key-{next(_keys)}"}
        answer = client.post(f"/api/v1/{path}", body or {}, format="json", headers=headers)
        assert answer.status_code == status, answer.json()
        return answer.json()

    def upload(self, client, path, number=0, **fields):
        """POST a photo."""
        file = SimpleUploadedFile("x.jpg", photo(number), content_type="image/jpeg")
        answer = client.post(f"/api/v1/{path}", {"file": file, **fields}, format="multipart")
        assert answer.status_code == 201, answer.content
        return answer.json()

    def sell(self) -> str:
        """List it and let Bob take it."""
        body = {
            "cards": [self.card.public_id], "ask": "1500.00", "grade_appearance": "good", "ships_from": "DE",
            "shipping": "20.00", "shipping_abroad": "50.00",
        }  # fmt: skip
        listing = self.post(self.seller, "card-listings/", body, 201)["id"]
        for number, kind in enumerate(("front", "code")):
            self.upload(self.seller, f"card-listings/{listing}/photos/", number, kind=kind)
        self.post(self.seller, f"card-listings/{listing}/open/")
        take = {"ships_to": "FR", "address": "1 rue de la Carte", "max_total": "1550.00"}
        (sale,) = self.post(self.buyer, f"card-listings/{listing}/buy/", take, 201)["sales"]
        return sale

    def ship(self, client):
        """Send it, in whichever direction it goes."""
        label = self.upload(client, f"sales/{self.sale}/evidence/", text="label")["id"]
        body = {"carrier": "DHL", "tracking": "JD1", "label_photo": label}
        return self.post(client, f"sales/{self.sale}/ship/", body)["state"]

    def state(self):
        """What the API says of the sale."""
        return self.buyer.get(f"/api/v1/sales/{self.sale}/").json()["state"]

    def statement(self, client):
        """(journal's code, account, amount, balance after, about) of every entry, oldest first, in whole dollars."""
        rows = client.get("/api/v1/wallet/statement/").json()["data"][::-1]
        return [
            (row["code"], row["kind"], whole(row["amount"]), whole(row["balance_after"]), row["subject"][:4])
            for row in rows
        ]

    def later(self, hours=1):
        """Time passes."""
        return self.clock.advance(hours * 3600)


def whole(money):
    """An amount of the API, which has no cents in these stories."""
    dollars, _, rest = money["amount"].partition(".")
    assert not rest.strip("0")
    return int(dollars)


BOUGHT = [
    ("deposit", "wallet", 5000, 5000, ""),
    ("card_escrow", "wallet", -1550, 3450, "bid_"),
    ("card_escrow", "escrow", 1550, 1550, "bid_"),
    ("card_escrow", "escrow", -1550, 0, "sale"),
    ("card_escrow", "escrow", 1550, 1550, "sale"),
]


@pytest.fixture
def deal(frozen, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[1] / "card_rules.yaml")
    table_in_force.cache_clear()
    yield Deal(frozen)
    table_in_force.cache_clear()


def is_clean():
    call_command("audit_ledger", stdout=io.StringIO())
    return not wrong_escrows()


def test_the_buyers_host_measures_the_card_and_the_seller_is_paid(deal, tell):
    assert deal.ship(deal.seller) == "shipped"
    deal.host.report(deal.later(), has_card=False)
    theirs = Measurer(deal.later(48), deal.bob)
    assert not IdentityConflict.objects.exists()
    card = Card.objects.get()
    assert (card.firm, card.node) == (deal.bob, theirs.node)
    theirs.measure(deal.later(), role="buyer", subject=deal.sale)
    assert consider_passports(now=deal.clock.now()) == 1
    assert deal.state() == "released"
    sold, bought = deal.statement(deal.seller), deal.statement(deal.buyer)
    tell(f"a card is sold: seller's statement {sold}, buyer's statement {bought}")
    assert sold == [("card_sale", "earnings", 1475, 1475, "sale")]  # 1500 and 50 shipping, less 5 % of the 1500
    assert bought == [*BOUGHT, ("card_sale", "escrow", -1550, 0, "sale")]
    (wallet,) = deal.buyer.get("/api/v1/wallet/").json()["data"]
    assert (whole(wallet["available"]), whole(wallet["reserved"])) == (3450, 0)
    assert is_clean()


def test_a_swapped_card_is_disputed_sent_back_measured_and_refunded(deal):
    deal.ship(deal.seller)
    swapped = Measurer(deal.later(48), deal.bob, uuid=OTHER)
    swapped.measure(deal.later(), role="buyer", subject=deal.sale)
    consider_passports(now=deal.clock.now())
    assert deal.state() == "disputed"
    deal.post(deal.buyer, f"sales/{deal.sale}/evidence/", {"text": "another one was in the parcel"}, 201)
    bundle = deal.seller.get(f"/api/v1/sales/{deal.sale}/evidence/").json()
    assert [each["role"] for each in bundle["passports"]] == ["seller", "buyer"]
    assert all(each["market_signature"] for each in bundle["passports"])
    operator = Client()
    operator.force_login(make_person(is_operator=True))
    ruling = operator.post(
        f"/api/v1/sales/{deal.sale}/resolve/", {"ruling": "return", "text": "send back what came"},
        content_type="application/json", headers={"Idempotency-Key": "rule"},
    )  # fmt: skip
    assert ruling.json()["state"] == "returning"
    assert deal.ship(deal.buyer) == "returning"
    deal.later(48)
    assert deal.post(deal.seller, f"sales/{deal.sale}/receive/")["step"] == "back"
    deal.host.measure(deal.later(), role="seller", subject=deal.sale)
    consider_passports(now=deal.clock.now())
    assert deal.state() == "refunded"
    assert deal.statement(deal.seller) == []
    back = deal.statement(deal.buyer)
    assert back[: len(BOUGHT)] == BOUGHT
    assert sorted(back[len(BOUGHT) :]) == [
        ("card_refund", "escrow", -1550, 0, "sale"),
        ("card_refund", "wallet", 1550, 5000, "sale"),
    ]
    assert is_clean()


def test_who_plugs_the_card_in_and_says_nothing_pays_and_both_statements_say_so(deal):
    deal.ship(deal.seller)
    deal.host.report(deal.later(), has_card=False)
    Measurer(deal.later(48), deal.bob)  # Bob's host reports it; Bob says nothing, and measures nothing
    notice_arrivals(now=deal.clock.now())
    assert deal.state() == "inspecting"
    deal.later(14 * 24)  # across a border
    advance_sales(now=deal.clock.now())
    assert deal.state() == "released"
    assert deal.statement(deal.seller) == [("card_sale", "earnings", 1475, 1475, "sale")]
    assert deal.statement(deal.buyer) == [*BOUGHT, ("card_sale", "escrow", -1550, 0, "sale")]
    assert is_clean()


def test_a_card_that_nobody_sold_them_stays_a_conflict_and_measures_nothing(deal):
    deal.ship(deal.seller)
    deal.host.report(deal.later(), has_card=False)
    thief = Measurer(deal.later(), make_firm("Eve"))
    assert IdentityConflict.objects.count() == 1
    with pytest.raises(NotFound):
        thief.measure(deal.later() + timedelta(minutes=5), role="buyer", subject=deal.sale)
    assert deal.state() == "shipped"
