"""Pages of reconciliation, light and dark, on a desk and on a phone: red with differences, and green."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from marketplace.common import clock
from marketplace.payments.gateway import BookEntry
from marketplace.payments.models import Difference, GatewayTransaction, ReconciliationRun
from marketplace.payments.reconciliation.services.comparing import compare
from marketplace.payments.reconciliation.services.explaining import explain
from marketplace.payments.reconciliation.services.reading import keep_entries
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.browser
EURO = 1_000_000


def compared(**holdings):
    now = clock.now()
    run = ReconciliationRun.objects.create(
        gateway="stripe", asked_at=now, next_try_at=now, read_at=now, is_read=True, reads_count=3,
        holdings={currency: [micros, 0] for currency, micros in holdings.items()},
    )  # fmt: skip
    compare(run, now)


def close(scene, difference, **more):
    explain(
        operator=scene.operator, difference_id=difference.public_id, firm_id="", key=difference.public_id,
        now=clock.now(), **more,
    )  # fmt: skip


@pytest.fixture
def red(scene, settings):
    """Entries that nobody booked: one explained, one asked about, one that changed, and a balance that is another."""
    settings.STRIPE_SECRET_KEY, settings.TWO_PERSON_LIMITS = "sk_test_fallow", {"USD": 100 * EURO}
    at = clock.now() - timedelta(days=3)
    entries = [
        BookEntry(f"txn_1RzTqK2eZvKYlo2C{number}8dQ0aB", "charge", "USD", micros, 0, micros, f"ch_{number}", at, at)
        for number, micros in enumerate((40 * EURO, 1500 * EURO, 12_345_678 * EURO))
    ]
    keep_entries("stripe", entries, at)
    keep_entries("stripe", [replace(entries[0], amount_micros=41 * EURO, net_micros=41 * EURO)], at)
    compared(USD=12_347_219 * EURO, EUR=70_000)
    small, large, *_ = Difference.objects.filter(kind="not_booked").order_by("off_micros")
    close(scene, small, action="off_own", reason="a test payment of our own, made before the first firm came")
    close(scene, large, action="off_cost", reason="stripe says that this is a fee")
    compared(USD=12_347_219 * EURO, EUR=70_000)
    return scene


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_are_clean_and_accessible(chromium, live_server, red, axe_source, theme, width):
    pages = {
        "reconciliation-red": "/operator/payments/reconciliation/",
        "payments-red": "/operator/payments/",
        "operator-red": "/operator/",
    }
    for difference in Difference.objects.order_by("pk"):
        pages[f"difference-{difference.kind}-{difference.state}-{difference.pk}"] = (
            f"/operator/payments/reconciliation/{difference.public_id}/"
        )
    visitor, wrong = Visitor(chromium, live_server.url, theme=theme, width=width), []
    visitor.sign_in("operator@fallow.example")
    for name, path in pages.items():
        visitor.open(path)
        visitor.picture(name)
        wrong += [f"{name}: {each}" for each in visitor.accessibility(axe_source)]
        wrong += [f"{name}: cut off: {each}" for each in visitor.cut_off()]
        if visitor.overflow() > 0:
            wrong.append(f"{name}: {visitor.overflow()} px too wide")
    assert wrong + visitor.troubles == []
    visitor.close()
    assert GatewayTransaction.objects.count() == 4


@pytest.mark.timeout(120)
def test_an_operator_explains_a_difference_and_the_page_is_green(chromium, live_server, scene, settings):
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    at = clock.now() - timedelta(days=3)
    keep_entries("stripe", [BookEntry("txn_1", "charge", "USD", EURO, 0, EURO, "ch_1", at, at)], at)
    compared(USD=EURO)
    visitor = Visitor(chromium, live_server.url, theme="light", width=390)
    visitor.sign_in("operator@fallow.example")
    visitor.open("/operator/payments/reconciliation/")
    visitor.page.click("text=In the gateway's books, not in the ledger")
    visitor.page.check("input[value=off_own]")
    visitor.page.fill("input[name=reason]", "a test of ours")
    visitor.page.click("text=Close it")
    visitor.page.wait_for_selector("text=The ledger says what Stripe says.")
    visitor.picture("reconciliation-green")
    assert Difference.objects.get().explanation == "a test of ours"
    assert visitor.troubles == []
    visitor.close()
