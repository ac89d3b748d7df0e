"""Transactions as the text of plain-text accounting. Pure: amounts are micros in, exact decimals out.

Beancount: https://beancount.github.io/docs/beancount_language_syntax.html; hledger: https://hledger.org/hledger.html.
Both begin with every account that is used and end with what it must hold, so their own checkers add everything up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from marketplace.common.money import format_micros

Balances = Mapping[tuple[str, str], int]  # (account, currency) → micros


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction; its postings are (account, currency, micros) and sum to zero in each currency."""

    on: date
    label: str
    subject: str
    journal: str
    postings: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the transactions: `names` says whose an account is, the balances are those of the end."""

    title: str
    first: date
    last: date
    balances: Balances
    names: Mapping[str, str]


def beancount(frame: Frame, entries: Iterable[Entry]) -> Iterator[str]:
    """The lines of a beancount file."""
    yield f'option "title" {_quoted(frame.title)}'
    for currency in sorted({currency for _, currency in frame.balances}):
        yield f'option "operating_currency" "{currency}"'
    for account in _accounts(frame):
        yield f"{frame.first} open {account}"
        if account in frame.names:
            yield f"  name: {_quoted(frame.names[account])}"
    for entry in entries:
        yield ""
        yield f"{entry.on} * {_quoted(entry.label)} {_quoted(entry.subject)}"
        yield f"  journal: {_quoted(entry.journal)}"
        for account, currency, micros in entry.postings:
            yield f"  {account}  {format_micros(micros)} {currency}"
    yield ""
    # A balance counts for the beginning of its day. A tolerance of nothing: beancount would forgive the last digit.
    for (account, currency), micros in sorted(frame.balances.items()):
        yield f"{frame.last + timedelta(days=1)} balance {account}  {format_micros(micros)} ~ 0 {currency}"


def hledger(frame: Frame, entries: Iterable[Entry]) -> Iterator[str]:
    """The lines of an hledger journal."""
    yield f"; {_plain(frame.title)}"
    for currency in sorted({currency for _, currency in frame.balances}):
        yield f"commodity 1.000000 {currency}"
    for account in _accounts(frame):
        name = frame.names.get(account)
        yield f"account {account}{f'  ; {_plain(name)}' if name else ''}"
    for entry in entries:
        yield ""
        yield f"{entry.on} * {_plain(entry.label)} | {_plain(entry.subject)}  ; journal:{entry.journal}"
        for account, currency, micros in entry.postings:
            yield f"    {account}  {format_micros(micros)} {currency}"
    yield ""
    yield f"{frame.last} * Balances"
    for (account, currency), micros in sorted(frame.balances.items()):
        yield f"    {account}  0.000000 {currency} = {format_micros(micros)} {currency}"


SYNTAXES = {"beancount": beancount, "hledger": hledger}


def _accounts(frame: Frame) -> list[str]:
    return sorted({account for account, _ in frame.balances})


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(text: str) -> str:
    """One line without what begins a comment, a tag or a note."""
    return " ".join(text.replace(";", ",").replace("|", "/").replace("\0", "").split())
