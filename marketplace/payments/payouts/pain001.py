"""Orders to a bank as ISO 20022 pain.001.001.09 (CustomerCreditTransferInitiationV09). Pure.

Elements and their order: https://www.iso20022.org/iso-20022-message-definitions?business-domain=2. Texts are kept to
the characters and lengths that every bank takes (EPC217-08, SEPA Requirements for an Extended Character Set).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, tostring

from marketplace.common.money import format_micros
from marketplace.payments.stripe_gateway.coins import places_of, tick_micros
from marketplace.payments.wire.account_numbers import SEPA, is_iban

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
NAME_LENGTH_MAX = 70
TEXT_LENGTH_MAX = 140
# What no accent can be taken off of: EPC217-08, chapter 6.
_LETTERS = str.maketrans(
    {
        **{"ß": "ss", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Ł": "L", "ł": "l", "ı": "i"},
        **{"Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "Þ": "TH", "þ": "th", "&": "+", "_": "-"},
    }
)
_NOT_SEPA = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


@dataclass(frozen=True, slots=True)
class Party:
    """Whose account, its number, and the BIC of its bank where it is known."""

    name: str
    account: str
    bic: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One payment; `reference` comes back on the bank's statement."""

    reference: str
    amount_micros: int
    to: Party
    text: str


def payment_order(
    *, message_id: str, made_at: datetime, execute_on: date, sender: Party, currency: str, transfers: Sequence[Transfer]
) -> bytes:
    """The file. Amounts must be whole coins; SEPA payments and others are told apart, each booked by itself."""
    assert transfers, "an order without payments is none"
    assert not any(each.amount_micros % tick_micros(currency) for each in transfers), "a bank pays whole coins"
    root = Element("Document", xmlns=NAMESPACE)
    order = SubElement(root, "CstmrCdtTrfInitn")
    head = SubElement(order, "GrpHdr")
    _add(head, "MsgId", _plain(message_id, 35))
    _add(head, "CreDtTm", made_at.strftime("%Y-%m-%dT%H:%M:%S"))
    _count(head, transfers, currency)
    _add(SubElement(head, "InitgPty"), "Nm", _plain(sender.name, NAME_LENGTH_MAX))
    by_kind = sorted(transfers, key=lambda each: not _is_sepa(each, currency))
    for is_sepa, group in groupby(by_kind, key=lambda each: _is_sepa(each, currency)):
        _payments(order, message_id, execute_on, sender, currency, list(group), is_sepa)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + bytes(
        tostring(root, encoding="us-ascii", xml_declaration=False)
    )


def _payments(
    order: Element,
    message_id: str,
    execute_on: date,
    sender: Party,
    currency: str,
    transfers: Sequence[Transfer],
    is_sepa: bool,
) -> None:
    group = SubElement(order, "PmtInf")
    _add(group, "PmtInfId", _plain(f"{message_id}-{'S' if is_sepa else 'X'}", 35))
    _add(group, "PmtMtd", "TRF")
    _add(group, "BtchBookg", "false")
    _count(group, transfers, currency)
    if is_sepa:
        _add(SubElement(SubElement(group, "PmtTpInf"), "SvcLvl"), "Cd", "SEPA")
    _add(SubElement(group, "ReqdExctnDt"), "Dt", execute_on.isoformat())
    _add(SubElement(group, "Dbtr"), "Nm", _plain(sender.name, NAME_LENGTH_MAX))
    account = _account(group, "DbtrAcct", sender.account)
    _add(account, "Ccy", currency)
    _agent(group, "DbtrAgt", sender.bic)
    _add(group, "ChrgBr", "SLEV" if is_sepa else "SHAR")
    for each in transfers:
        _transfer(group, each, currency)


def _transfer(group: Element, transfer: Transfer, currency: str) -> None:
    made = SubElement(group, "CdtTrfTxInf")
    identity = SubElement(made, "PmtId")
    _add(identity, "InstrId", transfer.reference)
    _add(identity, "EndToEndId", transfer.reference)
    amount = _add(SubElement(made, "Amt"), "InstdAmt", format_micros(transfer.amount_micros, places_of(currency)))
    amount.set("Ccy", currency)
    if transfer.to.bic:
        _agent(made, "CdtrAgt", transfer.to.bic)
    _add(SubElement(made, "Cdtr"), "Nm", _plain(transfer.to.name, NAME_LENGTH_MAX))
    _account(made, "CdtrAcct", transfer.to.account)
    _add(SubElement(made, "RmtInf"), "Ustrd", _plain(transfer.text, TEXT_LENGTH_MAX))


def _account(parent: Element, name: str, number: str) -> Element:
    account = SubElement(parent, name)
    identity = SubElement(account, "Id")
    if is_iban(number):
        _add(identity, "IBAN", number)
    else:
        _add(SubElement(identity, "Othr"), "Id", number)
    return account


def _agent(parent: Element, name: str, bic: str) -> None:
    bank = SubElement(SubElement(parent, name), "FinInstnId")
    if bic:
        _add(bank, "BICFI", bic)
    else:
        _add(SubElement(bank, "Othr"), "Id", "NOTPROVIDED")


def _count(parent: Element, transfers: Iterable[Transfer], currency: str) -> None:
    amounts = [each.amount_micros for each in transfers]
    _add(parent, "NbOfTxs", str(len(amounts)))
    _add(parent, "CtrlSum", format_micros(sum(amounts), places_of(currency)))


def _is_sepa(transfer: Transfer, currency: str) -> bool:
    return currency == "EUR" and is_iban(transfer.to.account) and transfer.to.account[:2] in SEPA


def _add(parent: Element, name: str, text: str) -> Element:
    child = SubElement(parent, name)
    child.text = text
    return child


def _plain(text: str, length: int) -> str:
    """Only characters that every bank takes; an accent is dropped, anything else becomes a dot."""
    return " ".join(_NOT_SEPA.sub(".", _bare(text)).split())[:length]


def can_be_written(name: str) -> bool:
    """Whether no letter of a name is lost on its way to the bank."""
    return all(each.isascii() or not each.isalnum() for each in _bare(name))


def _bare(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(each for each in apart if not unicodedata.combining(each))
