"""The operator's books: trial balance, closed periods, every invoice, exports."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.accounts.models import User
from marketplace.books.models import Document
from marketplace.books.months import month_of
from marketplace.books.pdf import document_pdf
from marketplace.books.rounding import rounded
from marketplace.books.selectors import any_document, credited_micros, totals, trial_balance
from marketplace.books.services import close_books, issue_credit_note
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.common.ids import random_text
from marketplace.ledger.periods import ask_to_reopen, lock_in_force, reopen, waiting_requests
from marketplace.storefront.forms.base import AmountField, PageForm
from marketplace.storefront.http import FORM_REFUSED, blame, newest_first, operator_page
from marketplace.storefront.views.books import asked_period, download, export
from marketplace.storefront.views.operator import done

PAGE = "storefront:operator-books"


class DayForm(PageForm):
    """The day that a trial balance or a close goes up to, itself not included."""

    until = forms.DateField(label="Up to the beginning of", widget=forms.DateInput(attrs={"type": "date"}))


class ReopenForm(DayForm):
    """From which day on, and why."""

    until = forms.DateField(label="Reopen from", widget=forms.DateInput(attrs={"type": "date"}))
    reason = forms.CharField(label="Why", max_length=500)


class CreditForm(PageForm):
    """How much of an invoice is taken back, and why."""

    amount = AmountField(label="Amount")
    reason = forms.CharField(label="Why", max_length=500)


@require_safe
@operator_page
def operator_books(request: HttpRequest) -> HttpResponse:
    """Whether everything adds up to nothing, what is closed, and the newest documents."""
    now = clock.now()
    asked = DayForm({"until": request.GET["at"]} if request.GET.get("at") else None, auto_id="at_%s")
    day = _midnight(asked) if asked.is_bound and asked.is_valid() else None
    rows = trial_balance(day)
    found = Document.objects.select_related("series", "issuer", "recipient")
    context = {
        "day": day,
        "rows": rows,
        "sums": sorted(totals(rows).items()),
        "month": month_of((day or now) - timedelta(microseconds=1)).date().isoformat(),
        "lock": lock_in_force(),
        "requests": waiting_requests(),
        "close_form": DayForm(initial={"until": month_of(now).date()}, auto_id="close_%s"),
        "reopen_form": ReopenForm(auto_id="reopen_%s"),
        "page": newest_first(found, request),
    }
    return render(request, "storefront/operator/books.html", context)


@require_POST
@operator_page
def books_close(request: HttpRequest) -> HttpResponse:
    """Let nothing count for the time before a day any more."""
    form = DayForm(request.POST)

    def act(operator: User) -> str:
        if not form.is_valid():
            raise DomainError("give a day as 2026-11-01")
        lock = close_books(operator=operator, until=_midnight(form), now=clock.now())
        return f"The books are closed until {lock.closed_until:%Y-%m-%d}."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def books_reopen_ask(request: HttpRequest) -> HttpResponse:
    """Ask another operator to reopen."""
    form = ReopenForm(request.POST)

    def act(operator: User) -> str:
        if not form.is_valid():
            raise DomainError("give a day as 2026-11-01, and say why")
        ask_to_reopen(operator=operator, until=_midnight(form), reason=form.cleaned_data["reason"], now=clock.now())
        return "Asked: another operator must agree."

    return done(request, act, to=PAGE)


@require_POST
@operator_page
def books_reopen(request: HttpRequest, request_id: str) -> HttpResponse:
    """Agree with another operator's request."""

    def act(operator: User) -> str:
        lock = reopen(operator=operator, request_id=request_id, now=clock.now())
        return f"Reopened: only what lies before {lock.closed_until:%Y-%m-%d} is closed."

    return done(request, act, to=PAGE)


@require_safe
@operator_page
def operator_export(request: HttpRequest, syntax: str) -> HttpResponse:
    """Everybody's books of a period, for beancount or hledger."""
    return export(syntax, None, asked_period(request, clock.now()))


@require_http_methods(["GET", "POST"])
@operator_page
def operator_document(request: HttpRequest, document_id: str) -> HttpResponse:
    """One document, and what can still be taken back of it."""
    document = any_document(document_id)
    form = CreditForm(request.POST or None)
    if form.is_valid() and (note := _credit(request, document, form)):
        return redirect("storefront:operator-document", note.public_id)
    context = {
        "document": document,
        "coins": rounded(document.total_micros, document.currency),
        "form": form,
        "key": request.POST.get("key") or random_text(24),
        "left_micros": document.total_micros - credited_micros(document),
        "is_operators": True,
    }
    status = FORM_REFUSED if form.errors else 200
    return render(request, "storefront/books/document.html", context, status=status)


@require_safe
@operator_page
def operator_document_file(request: HttpRequest, document_id: str) -> HttpResponse:
    """The sheet."""
    document = any_document(document_id)
    return download(document_pdf(document), "application/pdf", f"{document.number_text}.pdf")


def _credit(request: HttpRequest, document: Document, form: CreditForm) -> Document | None:
    assert isinstance(request.user, User)
    try:
        return issue_credit_note(
            operator=request.user,
            document_id=document.public_id,
            amount_micros=form.cleaned_data["amount"],
            reason=form.cleaned_data["reason"],
            key=f"page-{request.POST.get('key', '')}",
            now=clock.now(),
        )
    except DomainError as error:
        blame(form, error)
        return None


def _midnight(form: DayForm) -> datetime:
    return datetime.combine(form.cleaned_data["until"], time(), UTC)
