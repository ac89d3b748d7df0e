"""Bank files as a bank would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from xml.sax.saxutils import escape

from marketplace.common.money import format_micros

OURS = "DE89370400440532013000"
THEIRS = "GB33BUKB20201555555555"
EURO = 1_000_000


@dataclass(frozen=True)
class Paid:
    """One entry of the bank account; plus is money that came."""

    micros: int
    text: str = ""
    on: date = date(2026, 11, 23)
    reference: str = ""
    end_to_end: str = ""
    name: str = "Some Firm"
    account: str = THEIRS
    is_return: bool = False


def amount(micros: int, currency: str, places: int = 2) -> str:
    """An amount without its sign, as banks write it."""
    side = "CRDT" if micros >= 0 else "DBIT"
    text = format_micros(abs(micros), places=places)
    return f'<Amt Ccy="{currency}">{text}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def camt(
    paid: Sequence[Paid],
    *,
    opening: int = 0,
    to_on: date = date(2026, 11, 23),
    account: str = OURS,
    currency: str = "EUR",
    number: str = "1",
    closing: int | None = None,
    version: str = "08",
) -> bytes:
    """A camt.053 file with one statement."""
    closing = opening + sum(each.micros for each in paid) if closing is None else closing
    entries = "".join(entry(each, currency, version) for each in paid)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"><BkToCstmrStmt>
<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{to_on}T20:00:00+01:00</CreDtTm></GrpHdr>
<Stmt><Id>{number}</Id><CreDtTm>{to_on}T20:00:00+01:00</CreDtTm>
<Acct><Id><IBAN>{account}</IBAN></Id><Ccy>{currency}</Ccy></Acct>
<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp>{amount(opening, currency)}<Dt><Dt>{to_on}</Dt></Dt></Bal>
<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp>{amount(closing, currency)}<Dt><Dt>{to_on}</Dt></Dt></Bal>
{entries}</Stmt></BkToCstmrStmt></Document>""".encode()


def entry(paid: Paid, currency: str, version: str = "08") -> str:
    """One entry; the parties stand one level deeper since version 8."""
    party = "Dbtr" if paid.micros > 0 else "Cdtr"
    named = f"<Nm>{escape(paid.name)}</Nm>"
    who = f"<Pty>{named}</Pty>" if int(version) >= 8 else named
    status = "<Sts><Cd>BOOK</Cd></Sts>" if int(version) >= 4 else "<Sts>BOOK</Sts>"
    bank = f"<AcctSvcrRef>{paid.reference}</AcctSvcrRef>" if paid.reference else ""
    sent = f"<Refs><EndToEndId>{paid.end_to_end}</EndToEndId></Refs>" if paid.end_to_end else ""
    back = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>" if paid.is_return else ""
    return f"""<Ntry>{amount(paid.micros, currency)}{status}<BookgDt><Dt>{paid.on}</Dt></BookgDt>{bank}
<NtryDtls><TxDtls>{sent}<RltdPties><{party}>{who}</{party}>
<{party}Acct><Id><IBAN>{paid.account}</IBAN></Id></{party}Acct></RltdPties>
<RmtInf><Ustrd>{escape(paid.text)}</Ustrd></RmtInf>{back}</TxDtls></NtryDtls></Ntry>"""
