"""The wallet and its statement: reads, open to every role of the firm."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.accounts.authentication import caller_of
from marketplace.common.api import paged, parse_query, take_page
from marketplace.ledger.selectors import balances_after, statement, wallet_balances
from marketplace.ledger.serializers import (
    StatementPage,
    StatementQuery,
    WalletShape,
    statement_line_json,
    wallet_line_json,
)

COLUMNS = ("at", "journal", "code", "kind", "subject", "currency", "amount", "balance_after")


class StatementCsv(BaseRenderer):
    """A page of the statement as a table; refusals stay JSON inside."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> Any:
        if "data" not in data:
            return JSONRenderer().render(data)
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(COLUMNS)
        table.writerows(_csv_row(line) for line in data["data"])
        return text.getvalue()


class WalletView(APIView):
    """What the firm has, per currency."""

    @extend_schema(responses=WalletShape, operation_id="wallet_retrieve")
    def get(self, request: Request) -> Response:
        return Response({"data": [wallet_line_json(line) for line in wallet_balances(caller_of(request).firm)]})


class StatementView(APIView):
    """Every entry of the firm's accounts, newest first."""

    renderer_classes = [JSONRenderer, StatementCsv]

    @extend_schema(parameters=[StatementQuery], responses=StatementPage, operation_id="wallet_statement")
    def get(self, request: Request) -> Response:
        query = parse_query(StatementQuery, request)
        entries = statement(firm=caller_of(request).firm, kind=query.get("kind"), currency=query.get("currency"))
        behind = {f"journal__{name}": query[name] for name in ("code", "subject") if name in query}
        taken = take_page(entries.filter(**behind), query)
        after = balances_after(taken.rows)
        return paged(taken, lambda entry: statement_line_json(entry, after[entry.pk]))


def _csv_row(line: Mapping[str, Any]) -> list[str]:
    flat = dict(line) | {
        "currency": line["amount"]["currency"],
        "amount": line["amount"]["amount"],
        "balance_after": line["balance_after"]["amount"],
        "at": line["at"].isoformat(),
    }
    return [str(flat[column]) for column in COLUMNS]
