"""Invoices are issued once, numbered without gaps, never changed; credit notes stay within them."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.core.checks import run_checks
from django.db import connections, transaction
from django.db.utils import DatabaseError, IntegrityError

from marketplace.books.issuing import IssuerMissing, create_document, issue_due, issue_month, series_of
from marketplace.books.models import Document, DocumentKind, IssuedMonth, Series
from marketplace.books.months import next_month
from marketplace.books.services import close_books, issue_credit_note
from marketplace.common.errors import Conflict, DomainError, Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Code, Journal, PeriodLock
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import InsufficientFunds, Leg, post
from tests.factories import NOON, make_firm, make_person
from tests.marketplace.books.trade import DECEMBER, NOVEMBER, Trade

JUST_OVER = DECEMBER + timedelta(hours=1)


def invoice(recipient, micros=100, **columns):
    """A fee invoice of one line."""
    line = {"subject": "lse_x", "code": "settlement", "what": "Fee", "amount_micros": micros, "tax_micros": 0}
    values = {"kind": DocumentKind.FEE_INVOICE, "issuer": None, "currency": "USD"} | columns
    return create_document(
        recipient=recipient, since=NOVEMBER, until=DECEMBER, lines=[line], actor="test", now=JUST_OVER, **values
    )


def test_a_month_is_invoiced_once_it_is_over_and_once_only(trade):
    assert issue_due(now=JUST_OVER - timedelta(seconds=1)) == 0
    assert issue_due(now=JUST_OVER) == 2
    assert issue_due(now=JUST_OVER + timedelta(days=3)) == 0
    fee, purchase = Document.objects.order_by("kind")
    assert (fee.kind, fee.issuer, fee.recipient) == ("fee_invoice", None, trade.alice)
    assert (purchase.kind, purchase.issuer, purchase.recipient) == ("purchase", trade.alice, trade.bob)
    assert purchase.total_micros == trade.lease.settled_micros
    assert fee.total_micros == trade.lease.settled_micros - trade.lease.seller_micros
    assert fee.lines[0]["subject"] == purchase.lines[0]["subject"] == trade.lease.public_id
    assert (fee.number, purchase.number, fee.number_text) == (1, 1, "FAL-000001")
    assert fee.parties["recipient"]["name"] == "Alice"
    assert Event.objects.filter(type="document.issued", firm_id=trade.alice.pk).count() == 2


def test_the_tax_that_a_step_knows_is_shown_and_moves_no_money(trade, settings):
    settings.TAX_STEP = f"{__name__}:TenPercent"
    issue_due(now=JUST_OVER)
    for document in Document.objects.all():
        assert document.tax_micros == document.total_micros * 1000 // 11000


class TenPercent:
    def basis_points(self, supply):
        assert (supply.from_country, supply.to_country) == ("DE", "DE")
        return 1000


def test_what_came_late_is_a_second_part_when_the_month_is_closed(trade):
    issue_due(now=JUST_OVER)
    late = account_for(firm=trade.bob, kind=AccountKind.WALLET, currency="USD")
    earnings = account_for(firm=trade.alice, kind=AccountKind.EARNINGS, currency="USD")
    legs = [Leg(late, -7), Leg(earnings, 7)]
    subject = trade.lease.public_id
    post(ref="late", code=Code.SETTLEMENT, legs=legs, subject=subject, now=JUST_OVER, happened_at=NOON)
    assert issue_month(since=NOVEMBER, now=JUST_OVER) == 0
    close_books(operator=trade.operator, until=DECEMBER, now=JUST_OVER)
    more = Document.objects.get(part=1)
    assert (more.kind, more.total_micros, more.number) == ("purchase", 7, 2)
    issue_month(since=NOVEMBER, now=JUST_OVER, again=True)
    assert Document.objects.count() == 3
    assert sum(each.total_micros for each in Document.objects.filter(kind="purchase")) == 7 + trade.lease.settled_micros


def test_a_close_looks_at_the_months_that_it_closes_and_at_no_others(trade, monkeypatch):
    looked_at = []
    monkeypatch.setattr("marketplace.books.services.issue_month", lambda since, **_: looked_at.append(since))
    close_books(operator=trade.operator, until=DECEMBER - timedelta(days=3), now=JUST_OVER)
    assert looked_at == []
    close_books(operator=trade.operator, until=DECEMBER, now=JUST_OVER)
    assert looked_at == [NOVEMBER]
    later = DECEMBER + timedelta(days=40)
    close_books(operator=trade.operator, until=next_month(DECEMBER), now=later)
    assert looked_at == [NOVEMBER, DECEMBER]


@pytest.mark.parametrize("country", ["", "UK"])
def test_without_the_platforms_country_no_document_is_issued_and_no_month_closed(trade, settings, country):
    """An invoice that names a guessed country is worse than none: the month stays due."""
    settings.PLATFORM_COUNTRY = country
    with pytest.raises(IssuerMissing, match="PLATFORM_COUNTRY"):
        issue_due(now=JUST_OVER)
    with pytest.raises(IssuerMissing):
        close_books(operator=trade.operator, until=DECEMBER, now=JUST_OVER)
    assert not Document.objects.exists()
    assert not PeriodLock.objects.exists()
    settings.PLATFORM_COUNTRY = "FR"
    assert issue_due(now=JUST_OVER) == 2
    assert Document.objects.get(kind="fee_invoice").parties["issuer"]["country"] == "FR"


@pytest.mark.parametrize(("country", "ids"), [("", ["books.W001"]), ("UK", ["books.E001"]), ("FR", [])])
def test_the_start_says_that_the_platforms_country_is_missing(settings, country, ids):
    settings.PLATFORM_COUNTRY = country
    assert [each.id for each in run_checks() if (each.id or "").startswith("books.")] == ids


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gaps_when_many_issue_at_once_and_some_fail():
    alice, firms = make_firm(), [make_firm() for _ in range(8)]
    series_of(None, is_credit=False)
    series_of(alice, is_credit=False)
    failed = []

    def issue(firm, number):
        for turn in range(6):
            try:
                with transaction.atomic():
                    invoice(firm, part=turn)
                    invoice(firm, kind=DocumentKind.PURCHASE, issuer=alice, part=turn)
                    if (number + turn) % 3 == 0:
                        raise Invalid("something after it goes wrong")
            except Invalid:
                failed.append(number)
        connections.close_all()

    threads = [threading.Thread(target=issue, args=(firm, number)) for number, firm in enumerate(firms)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed
    for issuer in (None, alice):
        numbers = sorted(Document.objects.filter(issuer=issuer).values_list("number", flat=True))
        assert numbers == list(range(1, 48 - len(failed) + 1))
        assert Series.objects.get(issuer=issuer).last_number == len(numbers)


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_issue_a_month_once(frozen):
    Trade(frozen)
    made, gate = [], threading.Barrier(2)

    def tick():
        gate.wait(20)
        made.append(issue_due(now=JUST_OVER))
        connections.close_all()

    threads = [threading.Thread(target=tick) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 2]
    assert IssuedMonth.objects.get().documents_count == 2


def credit(trade, document, micros, key="k", reason="half an hour was slow", operator=None):
    """Take a part of it back."""
    return issue_credit_note(
        operator=operator or trade.operator, document_id=document.public_id, amount_micros=micros, reason=reason,
        key=key, now=JUST_OVER,
    )  # fmt: skip


def test_a_credit_note_refers_to_its_invoice_moves_the_money_and_never_exceeds_it(trade):
    issue_due(now=JUST_OVER)
    fee, purchase = Document.objects.order_by("kind")
    earned = trade.lease.seller_micros
    note = credit(trade, fee, 1000)
    assert credit(trade, fee, 1000) == note
    another = credit(trade, fee, 1000, operator=make_person(is_operator=True))
    assert (another.number, another.total_micros) == (2, 1000)  # whose key is only by chance the same
    earned += 1000
    assert (note.refers_to, note.number_text, note.total_micros) == (fee, "FAL-C000001", 1000)
    assert balance_micros(firm=trade.alice, kind=AccountKind.EARNINGS, currency="USD") == earned + 1000
    for micros in (0, fee.total_micros - 1999):
        with pytest.raises(Invalid):
            credit(trade, fee, micros, key=f"more {micros}")
    before = balance_micros(firm=trade.bob, kind=AccountKind.WALLET, currency="USD")
    credit(trade, purchase, earned + 1000, key="all that she has")
    assert balance_micros(firm=trade.alice, kind=AccountKind.EARNINGS, currency="USD") == 0
    assert balance_micros(firm=trade.bob, kind=AccountKind.WALLET, currency="USD") == before + earned + 1000
    with pytest.raises(InsufficientFunds):
        credit(trade, purchase, 1, key="more than she has")
    assert Document.objects.filter(refers_to=purchase).count() == 1


def test_only_an_operator_with_a_reason_credits_an_invoice_and_nothing_else(trade):
    issue_due(now=JUST_OVER)
    fee = Document.objects.get(kind="fee_invoice")
    with pytest.raises(NotAllowed):
        credit(trade, fee, 1, operator=make_person())
    with pytest.raises(Invalid):
        credit(trade, fee, 1, reason=" ")
    note = credit(trade, fee, 1)
    with pytest.raises(DomainError):
        credit(trade, note, 1, key="again")


@pytest.mark.django_db(transaction=True)
def test_credit_notes_at_once_do_not_exceed_the_invoice_together(frozen):
    trade = Trade(frozen)
    issue_due(now=JUST_OVER)
    fee = Document.objects.get(kind="fee_invoice")
    part = fee.total_micros // 2 - 1
    outcomes, gate = [], threading.Barrier(6)

    def ask(number):
        gate.wait(20)
        try:
            credit(trade, fee, part, key=f"k{number}")
            outcomes.append(True)
        except (Conflict, Invalid):
            outcomes.append(False)
        connections.close_all()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 4 + [True] * 2
    numbers = Document.objects.filter(refers_to=fee).order_by("pk").values_list("number", flat=True)
    assert list(numbers) == [1, 2]
    assert Journal.objects.filter(code=Code.CREDIT_NOTE).count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("lines", [[], [{"amount_micros": 99, "tax_micros": 0}]])
def test_the_lines_sum_to_the_total(lines):
    good = invoice(firm := make_firm())
    with pytest.raises(DatabaseError), transaction.atomic():
        Document.objects.create(
            kind="fee_invoice", series=good.series, recipient=firm, parties={}, currency="USD", since=NOVEMBER,
            until=DECEMBER, part=1, total_micros=100, lines=lines, issued_at=NOON,
        )  # fmt: skip
    with pytest.raises(IntegrityError), transaction.atomic():
        invoice(firm)
