"""Statements, documents and exports of a firm; the trial balance and credit notes for operators."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import ApiKeyAuthentication, Caller, caller_of, session_caller
from marketplace.accounts.models import User
from marketplace.books.exporting import write_books
from marketplace.books.pdf import document_pdf, statement_pdf
from marketplace.books.selectors import any_document, document_of, documents_of, totals, trial_balance
from marketplace.books.serializers import (
    BooksQuery,
    BooksStatementShape,
    CreditRequestShape,
    DocumentFileQuery,
    DocumentPage,
    DocumentQuery,
    DocumentShape,
    ExportQuery,
    TrialBalanceShape,
    TrialQuery,
    document_json,
    statement_csv,
    statement_json,
    trial_row_json,
)
from marketplace.books.services import issue_credit_note
from marketplace.books.statements import period_of, statement_of
from marketplace.common import clock
from marketplace.common.api import money_json, page, parse, parse_query
from marketplace.common.errors import NotAllowed, Unauthorised
from marketplace.common.openapi import IDEMPOTENCY_KEY


class FileRenderer(BaseRenderer):
    """Names a format of files, which the views write themselves; refusals stay JSON inside."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> Any:
        return JSONRenderer().render(data)


class CsvFile(FileRenderer):
    """`format=csv`."""

    media_type, format, charset = "text/csv", "csv", "utf-8"


class PdfFile(FileRenderer):
    """`format=pdf`."""

    media_type, format, charset = "application/pdf", "pdf", None


class BooksStatementView(APIView):
    """What the firm had, what moved, and what it has, over a period in one currency."""

    renderer_classes = [JSONRenderer, CsvFile, PdfFile]

    @extend_schema(parameters=[BooksQuery], responses=BooksStatementShape, operation_id="books_statement")
    def get(self, request: Request) -> Response | HttpResponse:
        query = parse_query(BooksQuery, request)
        now, firm = clock.now(), caller_of(request).firm
        period = period_of(query.get("since"), query.get("until"), now)
        by_day = query["fold"] == "day"
        statement = statement_of(firm=firm, currency=query["currency"], period=period, by_day=by_day)
        if query.get("format") == "csv":
            return HttpResponse(statement_csv(statement), content_type="text/csv; charset=utf-8")
        if query.get("format") == "pdf":
            return HttpResponse(statement_pdf(statement, now), content_type="application/pdf")
        return Response(statement_json(statement))


class ExportView(APIView):
    """The firm's books as a text file for beancount or hledger."""

    @extend_schema(parameters=[ExportQuery], responses={(200, "text/plain"): str}, operation_id="books_export")
    def get(self, request: Request) -> HttpResponse:
        query = parse_query(ExportQuery, request)
        now, period, out = clock.now(), None, io.StringIO()
        if query.get("since") or query.get("until"):
            period = period_of(query.get("since"), query.get("until"), now)
        write_books(out=out, syntax=query["syntax"], firm=caller_of(request).firm, period=period, now=now)
        return HttpResponse(out.getvalue(), content_type="text/plain; charset=utf-8")


class DocumentsView(APIView):
    """Invoices and credit notes that the firm issued or received, newest first."""

    @extend_schema(parameters=[DocumentQuery], responses=DocumentPage, operation_id="documents_list")
    def get(self, request: Request) -> Response:
        query = parse_query(DocumentQuery, request)
        chosen = {name: query[name] for name in ("kind", "currency") if name in query}
        return page(documents_of(caller_of(request).firm).filter(**chosen), query, document_json)


class DocumentView(APIView):
    """One document, as JSON or as a sheet."""

    renderer_classes = [JSONRenderer, PdfFile]

    @extend_schema(parameters=[DocumentFileQuery], responses=DocumentShape, operation_id="documents_retrieve")
    def get(self, request: Request, document_id: str) -> Response | HttpResponse:
        document = document_of(caller_of(request).firm, document_id)
        if parse_query(DocumentFileQuery, request).get("format") == "pdf":
            return HttpResponse(document_pdf(document), content_type="application/pdf")
        return Response(document_json(document))


class CreditView(APIView):
    """An operator, signed in on the pages, takes a part of an invoice back; the money moves with it."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]

    @extend_schema(
        parameters=[IDEMPOTENCY_KEY],
        request=CreditRequestShape,
        responses={201: DocumentShape},
        operation_id="documents_credit",
    )
    def post(self, request: Request, document_id: str) -> Response:
        operator = _operator(request, document_id)
        any_document(document_id)
        body = parse(CreditRequestShape, request.data)
        note = issue_credit_note(
            operator=operator,
            document_id=document_id,
            amount_micros=body["amount"],
            reason=body["reason"],
            key=request.headers.get("Idempotency-Key"),
            now=clock.now(),
        )
        return Response(document_json(note), status=201)


class TrialBalanceView(APIView):
    """Every kind of account as of a day, for operators that are signed in on the pages."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]
    permission_classes = [AllowAny]

    @extend_schema(parameters=[TrialQuery], responses=TrialBalanceShape, operation_id="books_trial_balance")
    def get(self, request: Request) -> Response:
        _operator(request)
        query = parse_query(TrialQuery, request)
        day = datetime.combine(query["at"], time(), UTC) if "at" in query else None
        at, rows = day or clock.now(), trial_balance(day, query.get("currency"))
        sums = [money_json(micros, currency) for currency, micros in sorted(totals(rows).items())]
        return Response({"at": at, "data": [trial_row_json(row) for row in rows], "sums": sums})


def _operator(request: Request, document_id: str | None = None) -> User:
    """The operator; a firm learns of its own documents that it may not, and of others nothing."""
    if isinstance(request.user, User) and request.user.is_operator:
        return request.user
    caller = request.auth if isinstance(request.auth, Caller) else session_caller(request._request)
    if caller is None:
        raise Unauthorised("sign in as an operator")
    if document_id is not None:
        document_of(caller.firm, document_id)
    raise NotAllowed("only an operator may do this", code="operators_only")
