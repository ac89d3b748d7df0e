"""Importing a bank's file: each new line is on the ledger before the import ends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import User
from marketplace.common.errors import Invalid, NotAllowed
from marketplace.events.services import record_event
from marketplace.payments.wire.camt import read_camt
from marketplace.payments.wire.csvfile import csv_map, read_csv
from marketplace.payments.wire.lines import BadStatement, BankLine, identities
from marketplace.payments.wire.lines import BankStatement as Read
from marketplace.payments.wire.matching import references_in
from marketplace.payments.wire.models import BankFile, BankStatement, StatementLine
from marketplace.payments.wire.selectors import known_references, lock_bank, own_account
from marketplace.payments.wire.services.settling import settle_again, settle_new
from marketplace.payments.wire.states import LineState, Match

FILE_BYTES_MAX = 5 * 1024 * 1024
LINES_MAX = 5_000  # a line is a journal or more: this many take some seconds


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did; `is_new` is False when these very bytes came before."""

    file: BankFile
    is_new: bool
    lines_count: int
    new_count: int


@transaction.atomic
def import_statement(*, data: bytes, name: str, now: datetime, operator: User | None = None) -> Imported:
    """Book what a file says and no file said before; all of it or nothing.

    camt.053 or a table by WIRE_CSV_COLUMNS, told apart by the first character. `operator` is None for the command
    line. Raises Invalid, with the line named, for a file that can't be booked, and NotAllowed for who is no operator.
    """
    if operator is not None and not (operator.is_operator and operator.is_active):
        raise NotAllowed("only an operator imports statements", code="operators_only")
    if len(data) > FILE_BYTES_MAX:
        raise Invalid(f"a statement has at most {FILE_BYTES_MAX // 2**20} MiB", code="bad_statement")
    lock_bank()  # two imports never see the same line as new
    sha256 = hashlib.sha256(data).digest()
    before = BankFile.objects.filter(sha256=sha256).first()
    if before is not None:
        return Imported(before, False, _count(before), 0)
    statements = _read(data)
    file = BankFile.objects.create(
        sha256=sha256, name=name[:200], bytes_count=len(data), imported_by=operator, imported_at=now
    )
    new = [line for statement in statements for line in _store(file, statement, now)]
    actor = operator.public_id if operator else "system"
    settle_new(new, now)
    settle_again(now)
    record_event(
        firm_id=None,
        type="bank_file.imported",
        subject=file.public_id,
        actor=actor,
        data={"name": file.name, "sha256": sha256.hex(), "lines": _count(file), "new": len(new)},
        now=now,
    )
    return Imported(file, True, _count(file), len(new))


def _read(data: bytes) -> list[Read]:
    try:
        if data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<":
            statements = read_camt(data)
        else:
            how = csv_map(settings.WIRE_CSV_COLUMNS, settings.WIRE_CSV_DECIMAL, settings.WIRE_CSV_DATE)
            statements = read_csv(data, how)
        for statement in statements:
            _check_ours(statement)
        if sum(len(statement.lines) for statement in statements) > LINES_MAX:
            raise BadStatement(f"a file has at most {LINES_MAX} entries: cut it by days")
    except BadStatement as error:
        raise Invalid(str(error), code="bad_statement") from error
    return statements


def _check_ours(statement: Read) -> None:
    if statement.currency not in settings.CURRENCIES:
        raise BadStatement(f"account {statement.account}: {statement.currency} is no currency of this market")
    if statement.account != own_account(statement.currency):
        raise BadStatement(f"account {statement.account}: it is not the one that WIRE_IBAN or WIRE_ACCOUNTS names")


def _store(file: BankFile, read: Read, now: datetime) -> list[StatementLine]:
    """The statement, and those of its lines that no file had."""
    keys = identities(read)
    known = {bytes(each) for each in StatementLine.objects.filter(identity__in=keys).values_list("identity", flat=True)}
    new = [(key, line) for key, line in zip(keys, read.lines, strict=True) if key not in known]
    statement = BankStatement.objects.create(
        file=file,
        account=read.account,
        currency=read.currency,
        number=read.number,
        from_on=read.from_on,
        to_on=read.to_on,
        opening_micros=read.opening_micros,
        closing_micros=read.closing_micros,
        lines_count=len(read.lines),
        new_count=len(new),
        created_at=read.created_at,
    )
    references = _references([line for _, line in new])
    made = [_line(statement, key, line, ours, now) for (key, line), ours in zip(new, references, strict=True)]
    return StatementLine.objects.bulk_create(made)


def _references(lines: Sequence[BankLine]) -> list[str]:
    """Of each line the reference that is one of ours; else the first with valid check digits, maybe a sender's."""
    written = [list(references_in(line.end_to_end, line.text, line.entry_reference)) for line in lines]
    ours = known_references({each for some in written for each in some})
    return [next((each for each in some if each in ours), some[0] if some else "") for some in written]


def _line(statement: BankStatement, identity: bytes, read: BankLine, reference: str, now: datetime) -> StatementLine:
    return StatementLine(
        statement=statement,
        identity=identity,
        currency=statement.currency,
        amount_micros=read.amount_micros,
        booked_on=read.booked_on,
        entry_reference=read.entry_reference,
        end_to_end=read.end_to_end,
        name=read.name,
        account=read.account,
        text=read.text,
        is_return=read.is_return,
        reference=reference,
        match=Match.UNKNOWN,
        state=LineState.WAITING,
        imported_at=now,
    )


def _count(file: BankFile) -> int:
    return sum(file.statements.values_list("lines_count", flat=True))
