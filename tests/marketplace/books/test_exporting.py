"""What is exported passes the programs' own checkers, whose balances are the wallets'."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from marketplace.books.exporting import _entries as entries_of_firm
from marketplace.books.exporting import write_books
from marketplace.books.issuing import issue_due
from marketplace.books.models import Document
from marketplace.books.services import issue_credit_note
from marketplace.books.statements import Period
from marketplace.books.syntax import Frame, hledger
from marketplace.common import clock
from marketplace.common.errors import Invalid
from marketplace.common.money import format_micros
from marketplace.ledger.selectors import wallet_balances
from tests.factories import NOON, fund, make_firm
from tests.marketplace.books.trade import DECEMBER, Trade
from tests.marketplace.ledger.test_wallet_api import analyse, entries_read

BEAN_CHECK = Path(sys.executable).with_name("bean-check")
NAMES = ("Wallet", "Held", "Earned")
LATER = DECEMBER + timedelta(days=2)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def busy(frozen):
    """A lease, a credit note, money in two currencies, and a firm whose name no file may trip over."""
    trade = Trade(frozen)
    fund(trade.bob, 7, "EUR")
    trade.bob.name = 'B"ob; \\ the | "second"\n2026-01-01 open'
    trade.bob.save()
    issue_due(now=DECEMBER + timedelta(hours=1))
    fee = Document.objects.get(kind="fee_invoice")
    issue_credit_note(
        operator=trade.operator, document_id=fee.public_id, amount_micros=3, reason="x", key="k", now=DECEMBER
    )
    return trade


def text_of(syntax, firm=None, period=None, now=LATER):
    out = io.StringIO()
    assert write_books(out=out, syntax=syntax, firm=firm, period=period, now=now) > 10
    return out.getvalue()


def missing(syntax):
    """Which checker is not installed; empty when it is."""
    program = {"beancount": str(BEAN_CHECK), "hledger": "hledger"}[syntax]
    return (
        "" if shutil.which(program) else f"{Path(program).name} is not installed: what it says of {syntax} is not known"
    )


def check(syntax, text, tmp_path):
    """What the program's own checker says; empty when it is content."""
    file = tmp_path / f"books.{syntax}"
    file.write_text(text)
    if syntax == "beancount":
        command = [str(BEAN_CHECK), "--no-cache", str(file)]
    else:
        command = ["hledger", "-f", str(file), "check", "--strict", "ordereddates"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return (ran.stdout + ran.stderr).strip() or ("" if ran.returncode == 0 else "failed")


@pytest.fixture(params=["beancount", "hledger"])
def syntax(request):
    if missing(request.param):
        pytest.skip(missing(request.param))
    return request.param


def expected(syntax, firm, accounts, sign):
    """Assertions of our own, from the wallet and not from the export."""
    day = (LATER + timedelta(days=1)).date()
    if syntax == "hledger":
        yield f"\n{day} * the wallet says"
    for line in wallet_balances(firm):
        for account, micros in zip(
            accounts, (line.available_micros, line.reserved_micros, line.earnings_micros), strict=True
        ):
            amount = format_micros(sign * micros)
            if syntax == "beancount":
                yield f"{day} balance {account}  {amount} ~ 0 {line.currency}"
            else:
                yield f"    {account}  0 {line.currency} = {amount} {line.currency}"


def test_a_firms_books_are_accepted_and_hold_what_its_wallet_does(busy, syntax, tmp_path):
    for firm in (busy.alice, busy.bob):
        text = text_of(syntax, firm)
        used = [f"Assets:Fallow:{name}" for name in NAMES]
        own = "\n".join(line for line in expected(syntax, firm, used, 1) if not is_unused(line, text))
        assert check(syntax, f"{text}\n{own}\n", tmp_path) == ""
    assert "Expenses:Hours" in text
    assert "Income:Hours" in text_of(syntax, busy.alice)
    assert "Expenses:Fees" in text_of(syntax, busy.alice)


def is_unused(line, text):
    """An account that the firm never had is not opened; the wallet shows nothing of it."""
    account = next((word for word in line.split() if word.startswith(("Assets", "Liabilities"))), "")
    return bool(account) and account not in text and " 0.000000 " in f"{line} "


def test_the_platforms_books_are_accepted_and_owe_what_the_wallets_hold(busy, syntax, tmp_path):
    text = text_of(syntax)
    own = []
    for firm in (busy.alice, busy.bob):
        used = [f"Liabilities:Firms:F-{firm.public_id.partition('_')[2]}:{name}" for name in NAMES]
        own += [line for line in expected(syntax, firm, used, -1) if not is_unused(line, text)]
    assert check(syntax, text + "\n" + "\n".join(own) + "\n", tmp_path) == ""


def test_a_micro_more_is_found_by_the_checker(busy, syntax, tmp_path):
    text = text_of(syntax, busy.bob)
    (line, *_) = [each for each in text.splitlines() if "Expenses:Hours" in each and " -" not in each and "." in each]
    account, amount, currency = line.split()
    micros = int(amount.replace(".", "")) + 1
    assert check(syntax, text.replace(line, f"  {account}  {format_micros(micros)} {currency}", 1), tmp_path)


def test_a_part_of_the_time_opens_with_what_there_was(busy, syntax, tmp_path):
    period = Period(NOON + timedelta(minutes=3), NOON + timedelta(minutes=9))
    out = io.StringIO()
    write_books(out=out, syntax=syntax, firm=busy.alice, period=period, now=LATER)
    assert "Opening balances" in out.getvalue()
    assert check(syntax, out.getvalue(), tmp_path) == ""


def test_a_period_that_has_not_begun_has_no_books(busy):
    period = Period(LATER + timedelta(days=1), LATER + timedelta(days=9))
    with pytest.raises(Invalid) as refused:
        write_books(out=io.StringIO(), syntax="hledger", firm=busy.bob, period=period, now=LATER)
    assert refused.value.code == "period_not_begun"


def test_a_firms_books_are_read_without_those_of_others(busy):
    """The ledger of everybody grows without end; a firm's file costs what the firm did."""
    stranger, other = make_firm(), make_firm()
    fund(stranger, 5)
    for _ in range(400):
        fund(other, 1)
    analyse()
    out = io.StringIO()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        )
        before = entries_read()
        write_entries(out, stranger)
        read = entries_read() - before
    assert "0.000005 USD" in out.getvalue()
    assert read < 100


def write_entries(out, firm):
    """As the file has them, inside of a transaction."""
    for entry in entries_of_firm(firm, NOON - timedelta(days=1), LATER):
        out.write("\n".join(hledger(Frame("", LATER.date(), LATER.date(), {}, {}), [entry])))


def test_the_command_writes_a_file_and_refuses_what_it_does_not_know(busy, tmp_path):
    file = tmp_path / "books.beancount"
    call_command("export_books", "beancount", "--firm", busy.bob.public_id, "--output", str(file), stdout=io.StringIO())
    assert file.read_text() == text_of("beancount", busy.bob, now=clock.now())
    with pytest.raises(CommandError):
        call_command("export_books", "beancount", "--firm", "firm_x", stdout=io.StringIO())
    with pytest.raises(Invalid):
        write_books(out=io.StringIO(), syntax="ledger", firm=None, period=None, now=LATER)
