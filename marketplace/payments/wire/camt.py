"""Bank statements as ISO 20022 camt.053 (BankToCustomerStatement), versions 2 to 13. Pure.

Elements: https://www.iso20022.org/iso-20022-message-definitions?business-domain=4. Names of elements are compared
without their namespace, because each version has one of its own. No document type declaration is accepted, so there
are no entities to expand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

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

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
OPENING = ("OPBD", "PRCD")  # opening booked; some banks name the previous closing instead
CLOSING = ("CLBD",)
NOT_BOOKED = {"PDNG", "INFO", "FUTR"}


def read_camt(data: bytes) -> list[BankStatement]:
    """The statements of a file. Raises BadStatement, which names the entry."""
    try:
        root = fromstring(data, forbid_dtd=True)
    except ParseError as error:
        raise BadStatement(f"line {error.position[0]}: this is not XML") from error
    except DefusedXmlException as error:
        raise BadStatement("a statement has no document type and no entities") from error
    except (ValueError, LookupError) as error:
        raise BadStatement("line 1: the encoding is unknown") from error
    if not root.tag.startswith("{" + NAMESPACE):
        raise BadStatement("this is not a camt.053 statement")
    statements = list(_all(root, "BkToCstmrStmt", "Stmt"))
    if not statements:
        raise BadStatement("there is no statement in this file")
    return [_statement(each, f"statement {number}") for number, each in enumerate(statements, start=1)]


def _statement(element: Element, where: str) -> BankStatement:
    entries = [(each, f"{where}, entry {number}") for number, each in enumerate(_all(element, "Ntry"), start=1)]
    currency = _currency(element, where)
    opening, _ = _balance(element, OPENING, where, currency)
    closing, closed_on = _balance(element, CLOSING, where, currency)
    lines = [line for entry, place in entries for line in _entry(entry, place, currency)]
    days = [line.booked_on for line in lines]
    return check(
        BankStatement(
            account=_account(element, "Acct"),
            currency=currency,
            number=plain([_text(element, "Id")], 35),
            from_on=min([*days, closed_on]),
            to_on=closed_on,
            opening_micros=opening,
            closing_micros=closing,
            lines=lines,
            created_at=_moment(_text(element, "CreDtTm")),
        ),
        where,
    )


def _entry(element: Element, where: str, currency: str) -> Iterator[BankLine]:
    if (_text(element, "Sts", "Cd") or _text(element, "Sts")).upper() in NOT_BOOKED:
        return
    micros = _amount(_first(element, "Amt"), where, currency) * _sign(element, where)
    if not micros:
        raise BadStatement(f"{where}: the amount is nothing")
    line = BankLine(
        booked_on=_day(element, where, "BookgDt"),
        amount_micros=micros,
        entry_reference=plain([_text(element, "AcctSvcrRef") or _text(element, "NtryRef")], 35),
        text=plain([_text(element, "AddtlNtryInf")]),
    )
    details = list(_all(element, "NtryDtls", "TxDtls"))
    parts = [_detailed(line, each, where, currency) for each in details]
    amounts = [part.amount_micros for part in parts]
    if len(parts) > 1 and all(amounts) and sum(amounts) == micros:
        yield from parts  # a batch, whose payments are known one by one
    elif len(parts) == 1:
        yield replace(parts[0], amount_micros=micros)
    else:
        yield line


def _detailed(line: BankLine, details: Element, where: str, currency: str) -> BankLine:
    """What one payment of the entry says of itself; the party is the other one, whichever way the money went."""
    party = "Dbtr" if line.amount_micros > 0 else "Cdtr"
    amount = _first(details, "Amt")
    if amount is None:
        amount = _first(details, "AmtDtls", "TxAmt", "Amt")
    own = amount is not None and amount.get("Ccy", currency) == currency
    micros = _amount(amount, where, currency) if own else 0
    named = _text(details, "RltdPties", party, "Nm") or _text(details, "RltdPties", party, "Pty", "Nm")
    written = [*_texts(details, "RmtInf", "Ustrd"), *_texts(details, "RmtInf", "Strd", "CdtrRefInf", "Ref")]
    return replace(
        line,
        amount_micros=micros if line.amount_micros > 0 else -micros,
        end_to_end=plain([_text(details, "Refs", "EndToEndId")], 35),
        name=plain([named], NAME_LENGTH_MAX),
        account=_account(details, "RltdPties", f"{party}Acct"),
        text=plain([*written, line.text]),
        is_return=_first(details, "RtrInf") is not None,
    )


def _currency(element: Element, where: str) -> str:
    balance = _first(element, "Bal", "Amt")
    found = _text(element, "Acct", "Ccy") or (balance.get("Ccy", "") if balance is not None else "")
    if len(found) != 3:
        raise BadStatement(f"{where}: it names no currency")
    return found


def _balance(element: Element, codes: tuple[str, ...], where: str, currency: str) -> tuple[int, date]:
    for code in codes:
        for balance in _all(element, "Bal"):
            if _text(balance, "Tp", "CdOrPrtry", "Cd") == code:
                micros = _amount(_first(balance, "Amt"), f"{where}, balance {code}", currency)
                sign = _sign(balance, f"{where}, balance {code}")
                return sign * micros, _day(balance, f"{where}, balance {code}", "Dt")
    raise BadStatement(f"{where}: it has no balance {codes[0]}")


def _amount(element: Element | None, where: str, currency: str) -> int:
    if element is None or not element.text:
        raise BadStatement(f"{where}: there is no amount")
    if element.get("Ccy", currency) != currency:
        raise BadStatement(f"{where}: it is in {element.get('Ccy')}, the account is in {currency}")
    try:
        micros = parse_micros(element.text.strip())
    except ValueError as error:
        raise BadStatement(f"{where}: {error}") from error
    if micros < 0:
        raise BadStatement(f"{where}: an amount has no sign")
    return micros


def _sign(element: Element, where: str) -> int:
    """`CdtDbtInd` is the direction of the entry itself, a reversal's too."""
    match _text(element, "CdtDbtInd"):
        case "CRDT":
            return 1
        case "DBIT":
            return -1
    raise BadStatement(f"{where}: it is neither credit nor debit")


def _day(element: Element, where: str, name: str) -> date:
    text = _text(element, name, "Dt") or _text(element, name, "DtTm")
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise BadStatement(f"{where}: it has no date") from error


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def _account(element: Element, *path: str) -> str:
    return account_number(_text(element, *path, "Id", "IBAN") or _text(element, *path, "Id", "Othr", "Id"))


def _text(element: Element, *path: str) -> str:
    found = _first(element, *path)
    return (found.text or "").strip() if found is not None else ""


def _texts(element: Element, *path: str) -> list[str]:
    return [(each.text or "").strip() for each in _all(element, *path)]


def _first(element: Element, *path: str) -> Element | None:
    return next(_all(element, *path), None)


def _all(element: Element, *path: str) -> Iterator[Element]:
    """Every descendant along a path of names."""
    if not path:
        yield element
        return
    for child in element:
        if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == path[0]:
            yield from _all(child, *path[1:])
