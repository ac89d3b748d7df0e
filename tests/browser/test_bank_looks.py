"""Pages of the bank and of payouts, light and dark, on a desk and on a phone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.common import clock
from marketplace.payments.models import BankDetails, Payout, StatementLine
from marketplace.payments.payouts.services.asking import request_payout
from marketplace.payments.payouts.services.details import change_bank_details
from marketplace.payments.payouts.services.sending import approve_payout, order_payouts
from marketplace.payments.services import confirm_deposit, start_deposit
from marketplace.payments.wire.services.booking import decide_line
from marketplace.payments.wire.services.importing import import_statement
from tests.browser.visitor import Visitor
from tests.factories import make_person
from tests.marketplace.payments.payouts.conftest import earn
from tests.marketplace.payments.wire.statements import EURO, OURS, THEIRS, Paid, camt
from tests.storefront import PASSWORD

pytestmark = pytest.mark.browser


@pytest.fixture
def bank(scene, settings):
    """A statement with something of everything, payouts in each state, and an account that is held."""
    settings.WIRE_IBAN, settings.TWO_PERSON_LIMITS = OURS, {"USD": 1000 * EURO}
    alice, now = scene.market.alice, clock.now()
    earn(alice, 9000, currency="USD", at=now - timedelta(days=200))
    earn(alice, 40, currency="USD", at=now)
    name_account(scene, THEIRS, at=now - timedelta(days=10))
    payouts = [ask(alice, euros) for euros in (60, 70, 1500, 80, 2500)]
    for payout in payouts[:2]:
        approve_payout(operator=scene.operator, payout_id=payout.public_id, now=now)
    order_payouts(operator=scene.operator, currency="USD", key="file", now=now)
    approve_payout(operator=scene.operator, payout_id=payouts[3].public_id, now=now)
    approve_payout(operator=scene.operator, payout_id=payouts[2].public_id, now=now)
    late, _ = start_deposit(firm=alice, currency="USD", amount_micros=EURO, idempotency_key="late", now=now)
    confirm_deposit(operator=scene.operator, deposit_id=late.public_id, now=now)
    bring(scene, payouts[0])
    name_account(scene, OURS, at=now)
    return scene


def name_account(scene, number, at):
    change_bank_details(
        firm=scene.market.alice, person=scene.seller, password=PASSWORD, address="192.0.2.1",
        holder="Alice Rechenzentren GmbH & Co. KG", account=number, bic="", now=at,
    )  # fmt: skip


def ask(firm, euros):
    return request_payout(
        firm=firm, currency="USD", amount_micros=euros * EURO, idempotency_key=f"k{euros}", now=clock.now()
    )[0]


def bring(scene, paid_out):
    lines = [
        Paid(-60 * EURO, end_to_end=paid_out.reference),
        Paid(200 * EURO, f"GPU hours november {scene.deposit.reference}", name="Bob Labs", reference="A1"),
        Paid(40 * EURO, "invoice 2026-11-447 of our research department, second part", name="Stranger Ltd"),
        Paid(5000 * EURO, "capital", name="Our owner"),
        Paid(-3 * EURO, "account fee november", name="The bank"),
        Paid(250 * EURO, "no reference at all", name="Somebody With A Rather Long Company Name Incorporated"),
    ]
    data = camt(lines, opening=900 * EURO, currency="USD")
    import_statement(data=data, name="2026-11-23-usd.xml", now=clock.now(), operator=scene.operator)
    owner, now = StatementLine.objects.get(text="capital"), clock.now()
    decide_line(operator=make_person(is_operator=True), line_id=owner.public_id, action="own", now=now, key="o")
    back = StatementLine.objects.get(name="Stranger Ltd")
    decide_line(operator=scene.operator, line_id=back.public_id, action="return", now=now, key="r")


def pages_of(scene):
    """Who → name → path."""
    partial = StatementLine.objects.get(entry_reference="A1").public_id
    unknown = StatementLine.objects.get(text="no reference at all").public_id
    asked = StatementLine.objects.get(text="capital").public_id
    back = StatementLine.objects.get(name="Stranger Ltd").public_id
    return {
        "operator": {
            "operator": "/operator/",
            "bank": "/operator/bank/",
            "bank-line-partial": f"/operator/bank/lines/{partial}/",
            "bank-line-unknown": f"/operator/bank/lines/{unknown}/",
            "bank-line-asked": f"/operator/bank/lines/{asked}/",
            "bank-line-back": f"/operator/bank/lines/{back}/",
            "operator-payouts": "/operator/payouts/",
        },
        "alice": {"payouts": "/sell/payouts/", "bank-account": "/sell/bank-account/", "wallet-paying": "/wallet/"},
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_clean_and_accessible(chromium, live_server, bank, axe_source, theme, width):
    wrong = []
    for who, pages in pages_of(bank).items():
        visitor = Visitor(chromium, live_server.url, theme=theme, width=width)
        visitor.sign_in(f"{who}@fallow.example")
        for name, path in pages.items():
            visitor.open(path)
            visitor.picture(name)
            wrong += [f"{name}: {each}" for each in visitor.accessibility(axe_source)]
            wrong += [f"{name}: cut off: {each}" for each in visitor.cut_off()]
            if visitor.overflow() > 0:
                wrong.append(f"{name}: {visitor.overflow()} px too wide")
        wrong += visitor.troubles
        visitor.close()
    assert wrong == []


@pytest.mark.timeout(120)
def test_a_seller_names_an_account_and_an_operator_settles_a_line(chromium, live_server, bank):
    BankDetails.objects.update(usable_at=clock.now())
    seller = Visitor(chromium, live_server.url, theme="light", width=390)
    seller.sign_in("alice@fallow.example")
    seller.open("/sell/payouts/")
    seller.page.fill("input[name=amount]", "100.00")
    seller.page.click("text=Pay out >> visible=true >> nth=-1")
    seller.page.wait_for_selector("text=Asked for: an operator sends it")
    assert Payout.objects.filter(amount_micros=100 * EURO).exists()
    operator = Visitor(chromium, live_server.url, theme="dark", width=390)
    operator.sign_in("operator@fallow.example")
    operator.open("/operator/bank/")
    operator.page.click("text=Bob Labs")
    operator.page.click("text=Book it so >> nth=0")
    operator.page.wait_for_selector("text=Booked.")
    assert StatementLine.objects.get(entry_reference="A1").state == "booked"
    assert seller.troubles + operator.troubles == []
    for each in (seller, operator):
        each.close()
