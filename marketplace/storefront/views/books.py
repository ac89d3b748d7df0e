"""A firm's statement of a period, its invoices, and its books as files."""

from __future__ import annotations

import io
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from marketplace.accounts.authentication import Caller
from marketplace.accounts.models import Firm
from marketplace.books.exporting import write_books
from marketplace.books.months import last_month, month_of, next_month
from marketplace.books.pdf import document_pdf, statement_pdf
from marketplace.books.rounding import rounded
from marketplace.books.selectors import deals, document_of, documents_of
from marketplace.books.serializers import statement_csv
from marketplace.books.statements import LABELS, Period, Statement, currencies_of, period_of, statement_of
from marketplace.common import clock
from marketplace.common.errors import Invalid
from marketplace.ledger.folding import Line, entries_of
from marketplace.storefront.http import firm_page, newest_first

LINES_MAX = 500  # of a page; the files have all
FOLDS = (("period", "Per lease"), ("day", "Per day"))


@require_safe
@firm_page
def books_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Opening balance, folded lines, closing balance; as a table or a sheet with `file=csv` or `file=pdf`."""
    now = clock.now()
    statement = _statement(request, caller, now)
    name = f"statement-{statement.period.since:%Y-%m-%d}-{statement.currency}"
    if request.GET.get("file") == "csv":
        return download(statement_csv(statement).encode(), "text/csv; charset=utf-8", f"{name}.csv")
    if request.GET.get("file") == "pdf":
        return download(statement_pdf(statement, now), "application/pdf", f"{name}.pdf")
    since = month_of(statement.period.since)
    context = {
        "statement": statement,
        "rows": [_row(line, statement) for line in statement.lines[:LINES_MAX]],
        "coins": rounded(statement.closing.total_micros, statement.currency),
        "currencies": currencies_of(caller.firm, settings.CURRENCIES),
        "fold": request.GET.get("fold", "period"),
        "folds": FOLDS,
        "before": last_month(since).date().isoformat(),
        "after": next_month(since).date().isoformat() if next_month(since) <= now else None,
    }
    return render(request, "storefront/books/statement.html", context)


@require_safe
@firm_page
def books_line(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The entries behind one line."""
    code, subject = (request.GET.get(name, "").replace("\0", "") for name in ("code", "subject"))
    period, currency = asked_period(request, clock.now()), _currency(request, caller.firm)
    entries = entries_of(
        firm=caller.firm, currency=currency, since=period.since, until=period.until, code=code, subject=subject
    )
    deal = deals([subject]).get(subject)
    context = {
        "page": newest_first(entries, request),
        "label": LABELS.get(code, code),
        "subject": subject,
        "about": deal.what if deal and caller.firm in {deal.seller, deal.buyer} else "",
        "period": period,
    }
    return render(request, "storefront/books/line.html", context)


@require_safe
@firm_page
def books_export(request: HttpRequest, caller: Caller, syntax: str) -> HttpResponse:
    """The period for beancount or hledger, in every currency."""
    return export(syntax, caller.firm, asked_period(request, clock.now()))


@require_safe
@firm_page
def documents_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Invoices and credit notes, newest first."""
    context = {"page": newest_first(documents_of(caller.firm), request)}
    return render(request, "storefront/books/documents.html", context)


@require_safe
@firm_page
def document_page(request: HttpRequest, caller: Caller, document_id: str) -> HttpResponse:
    """One of them."""
    document = document_of(caller.firm, document_id)
    context = {"document": document, "coins": rounded(document.total_micros, document.currency)}
    return render(request, "storefront/books/document.html", context)


@require_safe
@firm_page
def document_file(request: HttpRequest, caller: Caller, document_id: str) -> HttpResponse:
    """The sheet."""
    document = document_of(caller.firm, document_id)
    return download(document_pdf(document), "application/pdf", f"{document.number_text}.pdf")


def export(syntax: str, firm: Firm | None, period: Period) -> HttpResponse:
    """A period as the file for another program, of a firm or of everybody."""
    out = io.StringIO()
    write_books(out=out, syntax=syntax, firm=firm, period=period, now=clock.now())
    ending = "beancount" if syntax == "beancount" else "journal"
    return download(out.getvalue().encode(), "text/plain; charset=utf-8", f"books-{period.since:%Y-%m-%d}.{ending}")


def download(content: bytes, kind: str, name: str) -> HttpResponse:
    """A file to keep."""
    response = HttpResponse(content, content_type=kind)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def asked_period(request: HttpRequest, now: datetime) -> Period:
    """The days [since, until) of the query. Raises Invalid."""
    days: dict[str, Any] = {}
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(request.GET[name]) if request.GET.get(name) else None
        except ValueError as error:
            raise Invalid("give a day as 2026-11-01", code="bad_day") from error
    return period_of(days["since"], days["until"], now)


def _statement(request: HttpRequest, caller: Caller, now: datetime) -> Statement:
    by_day = request.GET.get("fold") == "day"
    currency = _currency(request, caller.firm)
    return statement_of(firm=caller.firm, currency=currency, period=asked_period(request, now), by_day=by_day)


def _row(line: Line, statement: Statement) -> dict[str, Any]:
    label = LABELS.get(line.code, line.code)
    return {"line": line, "label": label, "about": statement.about.get(line.subject, "")}


def _currency(request: HttpRequest, firm: Firm) -> str:
    known = currencies_of(firm, settings.CURRENCIES)
    usual = settings.CURRENCIES[0] if settings.CURRENCIES[0] in known else known[0]
    asked = request.GET.get("currency", "")
    return asked if asked in known else usual
