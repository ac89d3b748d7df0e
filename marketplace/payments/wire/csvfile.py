"""Bank statements as a table, by a map that says which column is what. Pure.

Every bank writes its own, so the map is the installation's: `account=IBAN;date=Booking date;…` (docs/wire.md).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby, pairwise

from marketplace.common.money import parse_micros
from marketplace.payments.wire.lines import (
    NAME_LENGTH_MAX,
    BadStatement,
    BankLine,
    BankStatement,
    account_number,
    check,
    plain,
)

REQUIRED = ("account", "currency", "date", "amount", "balance")
OPTIONAL = ("reference", "end_to_end", "name", "counter_account", "text")
SIGNED = re.compile(r"([+-]?)([\d\s.,']+)")


@dataclass(frozen=True, slots=True)
class CsvMap:
    """How a bank writes its tables: our name → its column, the decimal mark, and the form of a date."""

    columns: Mapping[str, str]
    decimal: str = "."
    date_format: str = "%Y-%m-%d"


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    account: str
    currency: str
    line: BankLine
    balance_micros: int


def csv_map(text: str, decimal: str = ".", date_format: str = "%Y-%m-%d") -> CsvMap:
    """The map that a setting says; a name that it leaves out is its own column's. ValueError for an unknown name."""
    columns = {name: name for name in (*REQUIRED, *OPTIONAL)}
    for pair in filter(None, (each.strip() for each in text.split(";"))):
        name, equals, column = pair.partition("=")
        if name not in columns or not equals:
            raise ValueError(f"a column map says name=column with a name of {', '.join(columns)}, not {pair!r}")
        columns[name] = column
    if decimal not in {".", ","}:
        raise ValueError("the decimal mark is . or ,")
    return CsvMap(columns, decimal, date_format)


def read_csv(data: bytes, how: CsvMap) -> list[BankStatement]:
    """The statements of a file, one per account and currency. Raises BadStatement, which names the line."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadStatement(f"line {data[: error.start].count(10) + 1}: this is not UTF-8") from error
    head = text.split("\n", 1)[0]
    delimiter = max(";,\t", key=head.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        missing = [how.columns[name] for name in REQUIRED if how.columns[name] not in (table.fieldnames or ())]
        if missing:
            raise BadStatement(f"line 1: the column {missing[0]!r} is missing")
        rows = [_row(each, how, table.line_num) for each in table]
    except csv.Error as error:
        raise BadStatement(f"line {table.line_num}: {error}") from error
    if not rows:
        raise BadStatement("line 2: there is no entry in this file")
    key = lambda row: (row.account, row.currency)  # noqa: E731
    return [_statement(list(each)) for _, each in groupby(sorted(rows, key=key), key=key)]


def _row(cells: Mapping[str | None, str | None], how: CsvMap, number: int) -> _Row:
    where = f"line {number}"
    if None in cells or None in cells.values():
        raise BadStatement(f"{where}: it has more or fewer cells than the head")

    def cell(name: str) -> str:
        return (cells.get(how.columns[name]) or "").strip()

    try:
        booked_on = datetime.strptime(cell("date"), how.date_format).date()
    except ValueError as error:
        raise BadStatement(f"{where}: {cell('date')!r} is no date of the form {how.date_format}") from error
    line = BankLine(
        booked_on=booked_on,
        amount_micros=_micros(cell("amount"), how.decimal, where),
        entry_reference=plain([cell("reference")], 35),
        end_to_end=plain([cell("end_to_end")], 35),
        name=plain([cell("name")], NAME_LENGTH_MAX),
        account=account_number(cell("counter_account")),
        text=plain([cell("text")]),
    )
    if not line.amount_micros:
        raise BadStatement(f"{where}: the amount is nothing")
    balance = _micros(cell("balance"), how.decimal, where)
    return _Row(number, account_number(cell("account")), cell("currency"), line, balance)


def _statement(rows: Sequence[_Row]) -> BankStatement:
    """Oldest first, as the balances say; a bank may write the newest first."""
    if _break(rows) is not None and _break(rows[::-1]) is None:
        rows = rows[::-1]
    broken = _break(rows)
    if broken is not None:
        raise BadStatement(f"line {broken.number}: its balance is not the one before it plus its amount")
    first, last = rows[0], rows[-1]
    days: list[date] = [row.line.booked_on for row in rows]
    return check(
        BankStatement(
            account=first.account,
            currency=first.currency,
            number="",
            from_on=min(days),
            to_on=max(days),
            opening_micros=first.balance_micros - first.line.amount_micros,
            closing_micros=last.balance_micros,
            lines=[replace(row.line) for row in rows],
        ),
        f"line {first.number}",
    )


def _break(rows: Sequence[_Row]) -> _Row | None:
    for before, row in pairwise(rows):
        if before.balance_micros + row.line.amount_micros != row.balance_micros:
            return row
    return None


def _micros(text: str, decimal: str, where: str) -> int:
    found = SIGNED.fullmatch(text)
    digits = re.sub(r"[\s']", "", found[2]) if found else ""
    thousands = "," if decimal == "." else "."
    whole, _, fraction = digits.partition(decimal)
    if not re.fullmatch(rf"\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})*|\d+", whole) or not re.fullmatch(
        r"\d*", fraction
    ):
        raise BadStatement(f"{where}: {text!r} is no amount with the decimal mark {decimal!r}")
    try:
        micros = parse_micros(whole.replace(thousands, "") + (f".{fraction}" if fraction else ""))
    except ValueError as error:
        raise BadStatement(f"{where}: {error}") from error
    assert found
    return -micros if found[1] == "-" else micros
