"""Statements on the ledger: what is certain is booked, the rest stands on suspense, and nothing is booked twice."""

from __future__ import annotations

import io
import threading
from collections import Counter
from datetime import date, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketplace.common.errors import Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Journal
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.reference import reference_for
from marketplace.payments.services import cancel_deposit, confirm_deposit, start_deposit
from marketplace.payments.wire.models import BankFile, StatementLine
from marketplace.payments.wire.selectors import differences
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.payments.wire.statements import EURO, OURS, Paid, camt

pytestmark = pytest.mark.django_db


def bring(data, **options):
    return import_statement(data=data, name="statement.xml", now=NOON, **options)


def in_wallet(firm, currency="EUR"):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency=currency)


def platform(kind, currency="EUR"):
    return balance_micros(firm=None, kind=kind, currency=currency, ref="wire")


def test_an_exact_credit_is_booked_at_once(alice, announce, operator):
    deposit = announce(100)
    done = bring(camt([Paid(100 * EURO, f"hours {deposit.reference}", reference="b1")]), operator=operator)
    assert (done.is_new, done.lines_count, done.new_count) == (True, 1, 1)
    deposit.refresh_from_db()
    assert (deposit.state, deposit.received_micros, deposit.confirmed_by) == ("confirmed", 100 * EURO, None)
    line = StatementLine.objects.get()
    assert (line.state, line.match, line.deposit) == ("booked", "exact", deposit)
    assert in_wallet(alice) == 100 * EURO
    assert platform(AccountKind.SUSPENSE) == 0
    (found,) = differences()
    assert found.is_clean
    told = Event.objects.get(firm_id=alice.pk, type="deposit.confirmed")
    assert told.data["line"] == line.public_id
    assert Event.objects.get(type="bank_file.imported").actor == operator.public_id


@pytest.mark.parametrize(("euros", "match"), [(99, "partial"), (101, "over"), (100, "late"), (55, "unknown")], ids=str)
def test_what_is_not_certain_stands_on_suspense(alice, announce, euros, match):
    deposit = announce(100)
    if match == "late":
        cancel_deposit(firm=alice, deposit_id=deposit.public_id, now=NOON)
    bring(camt([Paid(euros * EURO, deposit.reference if match != "unknown" else "no reference")]))
    line = StatementLine.objects.get()
    assert (line.state, line.match) == ("waiting", match)
    assert (in_wallet(alice), platform(AccountKind.SUSPENSE)) == (0, euros * EURO)
    assert differences()[0].is_clean


def test_a_second_payment_for_one_deposit_waits(announce, alice):
    deposit = announce(100)
    bring(
        camt([Paid(100 * EURO, deposit.reference, reference="1"), Paid(100 * EURO, deposit.reference, reference="2")])
    )
    assert sorted(StatementLine.objects.values_list("match", "state")) == [("exact", "booked"), ("over", "waiting")]
    assert in_wallet(alice) == 100 * EURO


def test_what_an_operator_confirmed_before_is_not_booked_again(announce, alice, operator):
    deposit = announce(100)
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    other = announce(5)
    confirm_deposit(operator=operator, deposit_id=other.public_id, now=NOON)
    bring(camt([Paid(100 * EURO, deposit.reference)]))
    assert StatementLine.objects.get().match == "by_hand"
    assert in_wallet(alice) == 105 * EURO
    (found,) = differences()
    assert (found.balance_micros, found.by_hand_micros) == (-5 * EURO, 5 * EURO)


def test_a_debit_stands_on_suspense_too():
    bring(camt([Paid(-3 * EURO, "account fee")], opening=3 * EURO))
    assert platform(AccountKind.SUSPENSE) == -3 * EURO
    assert differences()[0].balance_micros == 3 * EURO  # what was there before the first statement


def test_the_same_file_again_books_nothing(announce):
    data = camt([Paid(EURO, "x"), Paid(EURO, "x"), Paid(100 * EURO, announce().reference)])
    first, journals = bring(data), Journal.objects.count()
    again = bring(data)
    assert (again.is_new, again.file, again.lines_count, again.new_count) == (False, first.file, 3, 0)
    assert (Journal.objects.count(), BankFile.objects.count()) == (journals, 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (camt([Paid(EURO), Paid(7 * EURO)], closing=EURO), "closing"),
        (camt([Paid(EURO)], account="DE00500105175407324931"), "WIRE_IBAN"),
        (camt([Paid(EURO)], currency="CHF"), "CHF is no currency"),
        (b"just,text\n1,2\n", "line 1"),
        (b"\x00\x01", "line 1"),
    ],
)
def test_a_bad_file_leaves_nothing(data, says):
    with pytest.raises(Invalid, match=says):
        bring(data)
    assert not BankFile.objects.exists()
    assert not Journal.objects.exists()


def test_a_file_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("marketplace.payments.wire.services.importing.FILE_BYTES_MAX", 100)
    with pytest.raises(Invalid, match="at most"):
        bring(camt([Paid(EURO)]))
    monkeypatch.undo()
    monkeypatch.setattr("marketplace.payments.wire.services.importing.LINES_MAX", 1)
    with pytest.raises(Invalid, match="at most 1 entries"):
        bring(camt([Paid(EURO), Paid(EURO)]))


def test_only_an_operator_imports(alice):
    with pytest.raises(NotAllowed):
        bring(camt([Paid(EURO)]), operator=make_person(alice))


def test_the_commands_say_what_they_did_and_whether_it_agrees(tmp_path, announce):
    path = tmp_path / "november.xml"
    path.write_bytes(camt([Paid(100 * EURO, announce().reference), Paid(2 * EURO, "?")]))
    said = io.StringIO()
    call_command("import_statement", str(path), stdout=said)
    call_command("import_statement", str(path), stdout=said)
    assert said.getvalue().splitlines() == [
        "november.xml: 2 entries, 2 of them new",
        "november.xml: imported before; 2 entries, 0 of them new",
    ]
    call_command("check_bank", stdout=said)
    assert "the ledger says what the bank says" in said.getvalue()
    later = camt([], opening=500 * EURO, to_on=date(2026, 11, 30))
    path.write_bytes(later)
    call_command("import_statement", str(path), stdout=said)
    with pytest.raises(CommandError, match="differ"):
        call_command("check_bank", stdout=said)
    with pytest.raises(CommandError, match="nothing"):
        call_command("import_statement", str(tmp_path / "nothing.xml"))


FIRST = date(2026, 11, 1)
DAYS = 4


@st.composite
def histories(draw):
    """The bank's true days, and files over some of them in some order, each day in a file at least once.

    A payment is (what it is for, euros): a number for the deposit of that index, else a text.
    """
    payment = st.tuples(st.sampled_from([0, 1, 2, "rent", "same"]), st.sampled_from([-7, 5, 10, 10, 20]))
    days = [draw(st.lists(payment, max_size=4)) for _ in range(DAYS)]
    spans = draw(st.lists(st.tuples(st.integers(0, DAYS - 1), st.integers(1, DAYS)), max_size=5))
    files = [(begin, min(begin + length, DAYS)) for begin, length in spans]
    whole = [(day, day + 1) for day in range(DAYS) if not any(begin <= day < end for begin, end in files)]
    return days, draw(st.permutations(files + whole))


@given(histories())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_files_and_their_order_each_micro_is_somewhere_and_none_is_twice(history):
    days, files = history
    with transaction.atomic():
        firms = [make_firm() for _ in range(3)]
        deposits = [
            start_deposit(firm=firm, currency="EUR", amount_micros=10 * EURO, idempotency_key="k", now=NOON)[0]
            for firm in firms
        ]
        true = [
            [
                Paid(euros * EURO, deposits[what].reference if isinstance(what, int) else what, FIRST + timedelta(day))
                for what, euros in paid
            ]
            for day, paid in enumerate(days)
        ]
        for begin, end in files:
            bring(file_of(true, begin, end))
            if len(files) > 1:
                bring(file_of(true, begin, end))
        check_against(true, [each.reference for each in deposits], firms)
        transaction.set_rollback(True)


def file_of(true, begin, end):
    """A file over the days [begin, end), with the balances that the bank had."""
    opening = sum(each.micros for day in true[:begin] for each in day)
    paid = [each for day in true[begin:end] for each in day]
    return camt(paid, opening=opening, to_on=FIRST + timedelta(end - 1), number=f"{begin}-{end}")


def check_against(true, references, firms):
    """The plain oracle: a deposit takes one payment of exactly ten; all else stands on suspense."""
    everything = [each for day in true for each in day]
    total = sum(each.micros for each in everything)
    exact = Counter(each.text for each in everything if each.text in references and each.micros == 10 * EURO)
    for firm, reference in zip(firms, references, strict=True):
        assert in_wallet(firm) == (10 * EURO if exact[reference] else 0)
    booked = 10 * EURO * len(exact)
    assert -platform(AccountKind.CLEARING) == total
    assert platform(AccountKind.SUSPENSE) == total - booked
    assert StatementLine.objects.count() == len(everything)
    last = differences()
    assert all(each.is_clean for each in last)
    assert last[0].bank_micros == total


def test_the_account_of_a_currency_is_that_of_its_setting(settings):
    settings.WIRE_ACCOUNTS = {"USD": "us12 3456"}
    bring(camt([Paid(EURO)], account="US123456", currency="USD"))
    with pytest.raises(Invalid, match="not the one"):
        bring(camt([Paid(EURO)], account=OURS, currency="USD"))


@pytest.mark.django_db(transaction=True)
def test_overlapping_files_at_once_book_each_line_once():
    alice = make_firm()
    deposits = [
        start_deposit(firm=alice, currency="EUR", amount_micros=10 * EURO, idempotency_key=f"k{each}", now=NOON)[0]
        for each in range(6)
    ]
    paid = [Paid(10 * EURO, deposit.reference) for deposit in deposits] + [Paid(3 * EURO, "unknown")] * 3
    files = [camt(paid[:number], number=str(number)) for number in range(2, len(paid) + 1)]
    errors = []

    def run(data):
        try:
            bring(data)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(data,)) for data in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert StatementLine.objects.count() == len(paid)
    assert (in_wallet(alice), platform(AccountKind.SUSPENSE)) == (60 * EURO, 9 * EURO)


@pytest.mark.parametrize("table", ["payments_bankfile", "payments_bankstatement"])
def test_what_the_bank_said_stays_as_it_was(table):
    bring(camt([Paid(EURO)]))
    for statement in (f"UPDATE {table} SET public_id = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_senders_own_reference_does_not_hide_ours(alice, announce):
    deposit = announce(100)
    bring(camt([Paid(100 * EURO, f"hours {deposit.reference}", end_to_end=reference_for("00000000000001"))]))
    assert StatementLine.objects.get().reference == deposit.reference
    assert in_wallet(alice) == 100 * EURO
