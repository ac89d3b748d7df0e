"""What a bank statement says, whatever its format was. Pure; amounts are signed micros, plus is money that came."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from marketplace.common.money import AMOUNT_MICROS_MAX

TEXT_LENGTH_MAX = 500
NAME_LENGTH_MAX = 140


class BadStatement(ValueError):
    """The file can't be booked; the text names the line."""


@dataclass(frozen=True, slots=True)
class BankLine:
    """One booked entry. `end_to_end` is what the sender of the money wrote as its id, ours for our own payouts."""

    booked_on: date
    amount_micros: int
    entry_reference: str = ""
    end_to_end: str = ""
    name: str = ""
    account: str = ""
    text: str = ""
    is_return: bool = False


@dataclass(frozen=True, slots=True)
class BankStatement:
    """An account's entries in one currency; `opening_micros` and the lines come to `closing_micros`."""

    account: str
    currency: str
    number: str
    from_on: date
    to_on: date
    opening_micros: int
    closing_micros: int
    lines: Sequence[BankLine]
    created_at: datetime | None = None


def check(statement: BankStatement, where: str) -> BankStatement:
    """The same statement; BadStatement when its own numbers do not agree."""
    if not statement.account:
        raise BadStatement(f"{where}: it names no account")
    if statement.from_on > statement.to_on:
        raise BadStatement(f"{where}: it ends before it begins")
    for number, line in enumerate(statement.lines, start=1):
        if not 0 < abs(line.amount_micros) <= AMOUNT_MICROS_MAX:
            raise BadStatement(f"{where}, entry {number}: the amount is nothing or too large")
    moved = sum(line.amount_micros for line in statement.lines)
    if statement.opening_micros + moved != statement.closing_micros:
        raise BadStatement(f"{where}: its opening balance and its {len(statement.lines)} entries miss its closing one")
    return statement


def identities(statement: BankStatement) -> list[bytes]:
    """One hash per line that is the same in every file that has the line.

    Of account, currency, bank reference, amount and date; where the bank gives no reference, of what was written too.
    Entries that are alike in all of this are told apart by their order, so a file must hold whole days.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for line in statement.lines:
        said = (line.entry_reference,) if line.entry_reference else ("", line.end_to_end, line.account, line.text)
        key = (statement.account, statement.currency, str(line.amount_micros), line.booked_on.isoformat(), *said)
        seen[key] += 1
        found.append(hashlib.sha256("\x1f".join((*key, str(seen[key]))).encode()).digest())
    return found


def plain(texts: Iterable[str | None], length: int = TEXT_LENGTH_MAX) -> str:
    """One line of what was written, cut to a length."""
    joined = " ".join(text for text in texts if text).replace("\0", "")
    return " ".join(joined.split())[:length]


def account_number(text: str | None) -> str:
    """An account as it is compared: capitals without spaces."""
    return re.sub(r"[\s\0]", "", text or "").upper()[:34]
