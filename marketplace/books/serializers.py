"""Shapes of statements, documents and the trial balance in the API."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from rest_framework import serializers

from marketplace.books.models import Document, DocumentKind
from marketplace.books.rounding import rounded
from marketplace.books.selectors import TrialRow
from marketplace.books.statements import LABELS, Statement
from marketplace.books.syntax import SYNTAXES
from marketplace.common.api import MicrosField, MoneyShape, PageQuery, StrictSerializer, money_json, page_shape
from marketplace.common.money import format_micros
from marketplace.ledger.folding import Held, Line
from marketplace.ledger.models import Code

COLUMNS = ("day", "code", "what", "subject", "entries", "currency", "free", "held", "earned", "total", "charged", "fee")


class PeriodQuery(serializers.Serializer[Any]):
    """[since, until) in UTC days: the month so far without either, the month of `since` with that alone."""

    since = serializers.DateField(required=False)
    until = serializers.DateField(required=False)


class BooksQuery(PeriodQuery):
    """What the statement is of; `fold=day` has a line per day of each lease and sale."""

    currency = serializers.CharField(max_length=3, default=settings.CURRENCIES[0])
    fold = serializers.ChoiceField(choices=["period", "day"], default="period")
    format = serializers.ChoiceField(choices=["json", "csv", "pdf"], required=False)


class ExportQuery(PeriodQuery):
    """Everything without a period."""

    syntax = serializers.ChoiceField(choices=sorted(SYNTAXES))


class TrialQuery(serializers.Serializer[Any]):
    """Up to the beginning of the day `at`, or now."""

    at = serializers.DateField(required=False)
    currency = serializers.CharField(max_length=3, required=False)


class DocumentQuery(PageQuery):
    """Filters of the list."""

    kind = serializers.ChoiceField(choices=DocumentKind.choices, required=False)
    currency = serializers.CharField(max_length=3, required=False)


class DocumentFileQuery(serializers.Serializer[Any]):
    """`format=pdf` answers the sheet."""

    format = serializers.ChoiceField(choices=["json", "pdf"], required=False)


class CreditRequestShape(StrictSerializer):
    """The body of POST /documents/…/credit/."""

    amount = MicrosField()
    reason = serializers.CharField(max_length=500)


class HeldShape(serializers.Serializer[Any]):
    """A firm's money: free to spend, held for something, earned, and all of it."""

    free = MoneyShape()
    held = MoneyShape()
    earned = MoneyShape()
    total = MoneyShape()


class FoldedLineShape(serializers.Serializer[Any]):
    """All entries of one code about one subject; `charged` and `fee` where the firm was the seller."""

    code = serializers.ChoiceField(choices=Code.choices)
    subject = serializers.CharField()
    about = serializers.CharField()
    day = serializers.DateField(allow_null=True)
    entries = serializers.IntegerField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    moved = HeldShape()
    charged = MoneyShape(allow_null=True)
    fee = MoneyShape(allow_null=True)


class TotalShape(serializers.Serializer[Any]):
    """The lines of one code together."""

    code = serializers.ChoiceField(choices=Code.choices)
    moved = HeldShape()
    fee = MoneyShape(allow_null=True)


class RoundedShape(serializers.Serializer[Any]):
    """The amount in the currency's coins, and what rounding added to the exact one."""

    amount = MoneyShape()
    rounding = MoneyShape()


class BooksStatementShape(serializers.Serializer[Any]):
    """`opening` and what the lines moved is `closing`, to the micro."""

    currency = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    opening = HeldShape()
    lines = FoldedLineShape(many=True)
    totals = TotalShape(many=True)
    sold = MoneyShape()
    fees = MoneyShape()
    closing = HeldShape()
    closing_in_coins = RoundedShape()


class DocumentLineShape(serializers.Serializer[Any]):
    """What was charged for one lease or sale; the tax is inside of the amount."""

    subject = serializers.CharField()
    code = serializers.CharField()
    what = serializers.CharField()
    amount = MoneyShape()
    tax = MoneyShape()


class DocumentShape(serializers.Serializer[Any]):
    """An invoice or a credit note. It is never changed."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=DocumentKind.choices)
    number = serializers.CharField()
    issuer = serializers.DictField()
    recipient = serializers.DictField()
    refers_to = serializers.CharField(allow_null=True)
    reason = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    issued_at = serializers.DateTimeField()
    total = MoneyShape()
    tax = MoneyShape()
    total_in_coins = RoundedShape()
    lines = DocumentLineShape(many=True)


DocumentPage = page_shape("DocumentPage", DocumentShape)


class TrialRowShape(serializers.Serializer[Any]):
    """Accounts of one purpose."""

    kind = serializers.CharField()
    ref = serializers.CharField()
    accounts = serializers.IntegerField()
    balance = MoneyShape()


class TrialBalanceShape(serializers.Serializer[Any]):
    """The balances just before `at`; the sums are 0."""

    at = serializers.DateTimeField()
    data = TrialRowShape(many=True)  # type: ignore[assignment]
    sums = MoneyShape(many=True)


def statement_json(statement: Statement) -> dict[str, Any]:
    """The whole statement."""
    currency = statement.currency
    return {
        "currency": currency,
        "since": statement.period.since,
        "until": statement.period.until,
        "opening": _held_json(statement.opening, currency),
        "lines": [_line_json(line, statement) for line in statement.lines],
        "totals": [
            {"code": each.code, "moved": _held_json(each.moved, currency), "fee": money_json(each.fee_micros, currency)}
            for each in statement.totals
        ],
        "sold": money_json(statement.sold_micros, currency),
        "fees": money_json(statement.fees_micros, currency),
        "closing": _held_json(statement.closing, currency),
        "closing_in_coins": _coins_json(statement.closing.total_micros, currency),
    }


def statement_csv(statement: Statement) -> str:
    """The statement as a table; the first and the last row are the balances."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    period, currency = statement.period, statement.currency
    table.writerow(
        [period.since.date(), "opening", "Opening balance", "", "", currency, *_amounts(statement.opening), "", ""]
    )
    for line in statement.lines:
        sold = [_text(line.gross_micros), _text(line.fee_micros)]
        what = f"{LABELS.get(line.code, line.code)}: {statement.about.get(line.subject, '')}".rstrip(": ")
        day = line.day or line.first_at.date()
        head = [day, line.code, what, line.subject, line.journals_count, currency]
        table.writerow([*head, *_amounts(line.moved), *sold])
    sold = [_text(statement.sold_micros), _text(statement.fees_micros)]
    table.writerow(
        [period.last_day, "closing", "Closing balance", "", "", currency, *_amounts(statement.closing), *sold]
    )
    return out.getvalue()


def document_json(document: Document) -> dict[str, Any]:
    """One document."""
    currency = document.currency
    return {
        "id": document.public_id,
        "kind": document.kind,
        "number": document.number_text,
        "issuer": document.parties["issuer"],
        "recipient": document.parties["recipient"],
        "refers_to": document.refers_to.public_id if document.refers_to else None,
        "reason": document.reason,
        "since": document.since,
        "until": document.until,
        "issued_at": document.issued_at,
        "total": money_json(document.total_micros, currency),
        "tax": money_json(document.tax_micros, currency),
        "total_in_coins": _coins_json(document.total_micros, currency),
        "lines": [
            {key: line[key] for key in ("subject", "code", "what")}
            | {"amount": money_json(line["amount_micros"], currency), "tax": money_json(line["tax_micros"], currency)}
            for line in document.lines
        ],
    }


def trial_row_json(row: TrialRow) -> dict[str, Any]:
    """One line of the trial balance."""
    return {
        "kind": row.kind,
        "ref": row.ref,
        "accounts": row.accounts_count,
        "balance": money_json(row.balance_micros, row.currency),
    }


def _line_json(line: Line, statement: Statement) -> dict[str, Any]:
    return {
        "code": line.code,
        "subject": line.subject,
        "about": statement.about.get(line.subject, ""),
        "day": line.day,
        "entries": line.journals_count,
        "first_at": line.first_at,
        "last_at": line.last_at,
        "moved": _held_json(line.moved, statement.currency),
        "charged": money_json(line.gross_micros, statement.currency),
        "fee": money_json(line.fee_micros, statement.currency),
    }


def _held_json(held: Held, currency: str) -> dict[str, Any]:
    return {
        "free": money_json(held.free_micros, currency),
        "held": money_json(held.held_micros, currency),
        "earned": money_json(held.earned_micros, currency),
        "total": money_json(held.total_micros, currency),
    }


def _coins_json(micros: int, currency: str) -> dict[str, Any]:
    coins = rounded(micros, currency)
    return {
        "amount": {"amount": format_micros(coins.micros, coins.places), "currency": currency},
        "rounding": money_json(coins.difference_micros, currency),
    }


def _amounts(held: Held) -> Iterable[str]:
    return [_text(each) for each in (held.free_micros, held.held_micros, held.earned_micros, held.total_micros)]


def _text(micros: int | None) -> str:
    return "" if micros is None else format_micros(micros)
