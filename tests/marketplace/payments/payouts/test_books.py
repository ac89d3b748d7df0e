"""Payouts and what a bank takes are in statements and books, and beancount's own checker is content with them."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from marketplace.books.exporting import write_books
from marketplace.books.statements import Period, statement_of
from marketplace.ledger.folding import Held
from marketplace.payments.models import StatementLine
from marketplace.payments.payouts.services.sending import approve_payout, order_payouts
from marketplace.payments.wire.services.booking import decide_line
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.payments.payouts.conftest import earn, name_account
from tests.marketplace.payments.payouts.test_asking import ask
from tests.marketplace.payments.wire.statements import EURO, Paid, camt

pytestmark = pytest.mark.django_db(transaction=True)
BEAN_CHECK = Path(sys.executable).with_name("bean-check")


@pytest.fixture
def alice():
    """Of 100 earned 60 are paid, 25 are on their way; the bank took 3 and somebody unknown sent 7."""
    firm, operator = make_firm("Alice"), make_person(is_operator=True)
    name_account(firm, make_person(firm))
    earn(firm, 100)
    payout = ask(firm, 60)
    approve_payout(operator=operator, payout_id=payout.public_id, now=NOON)
    order_payouts(operator=operator, currency="EUR", key="f", now=NOON)
    ask(firm, 25, key="k2")
    lines = [Paid(-60 * EURO, end_to_end=payout.reference), Paid(-3 * EURO, "fee"), Paid(7 * EURO, "unknown")]
    import_statement(data=camt(lines), name="s.xml", now=NOON)
    fee = StatementLine.objects.get(text="fee")
    decide_line(operator=operator, line_id=fee.public_id, action="cost", now=NOON, key="c")
    return firm


def test_a_statement_shows_what_left_and_what_is_leaving(alice):
    period = Period(NOON - timedelta(days=1), NOON + timedelta(days=1))
    statement = statement_of(firm=alice, currency="EUR", period=period)
    assert statement.opening == Held(earned_micros=100 * EURO)
    assert statement.closing == Held(held_micros=25 * EURO, earned_micros=15 * EURO)
    moved = {(total.label, total.moved) for total in statement.totals}
    assert moved == {
        ("Payout asked for", Held(held_micros=85 * EURO, earned_micros=-85 * EURO)),
        ("Paid out", Held(held_micros=-60 * EURO)),
    }


@pytest.mark.parametrize("whose", ["the firm's", "everybody's"])
def test_the_books_are_accepted_by_beancount(alice, tmp_path, whose):
    out = io.StringIO()
    firm = alice if whose == "the firm's" else None
    write_books(out=out, syntax="beancount", firm=firm, period=None, now=NOON + timedelta(days=1))
    file = tmp_path / "books.beancount"
    file.write_text(out.getvalue())
    checked = subprocess.run([BEAN_CHECK, "--no-cache", file], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    if firm:
        assert "balance Assets:Fallow:Leaving  25.000000 ~ 0 EUR" in out.getvalue()
    else:
        assert "balance Expenses:Gateways:Wire  3.000000 ~ 0 EUR" in out.getvalue()
        assert "balance Liabilities:Suspense  -7.000000 ~ 0 EUR" in out.getvalue()


def test_the_ledger_is_clean_after_all_of_it(alice):
    said = io.StringIO()
    call_command("audit_ledger", stdout=said)
    assert "the ledger is clean" in said.getvalue()
