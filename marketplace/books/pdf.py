"""Statements, invoices and credit notes on paper: exact amounts, then coins and what rounding added."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from anyascii import anyascii
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from marketplace.books.models import Document, DocumentKind
from marketplace.books.rounding import rounded
from marketplace.books.statements import LABELS, Statement
from marketplace.common.money import format_micros
from marketplace.ledger.folding import Held, Line

INK, MUTED, LINE = (24, 28, 24), (96, 104, 96), (200, 206, 200)
MARGIN, WIDTH, ROW, ROW_SIZE = 16.0, 178.0, 5.2, 8.5
# The fonts that every reader has know Latin-1 alone.
LATIN_1_END = 0x100
PLAIN = str.maketrans({"\N{NARROW NO-BREAK SPACE}": " ", "–": "-", "’": "'", "…": "...", "×": "x", "−": "-"})
Columns = Sequence[tuple[str, float, str]]  # heading, width in mm, alignment

STATEMENT: Columns = (("Day", 20, "L"), ("What", 78, "L"), ("Free", 27, "R"), ("Held", 27, "R"), ("Earned", 26, "R"))
INVOICE: Columns = (("What", 88, "L"), ("For", 44, "L"), ("of it tax", 20, "R"), ("Amount", 26, "R"))


class Sheet(FPDF):
    """A4 with our header and page numbers; `made_at` keeps the same document the same file."""

    def __init__(self, title: str, made_at: datetime) -> None:
        super().__init__(format="A4")
        self.set_title(plain(title))
        self.set_creation_date(made_at)
        self.set_margins(MARGIN, 16, MARGIN)
        self.set_auto_page_break(True, 18)
        self.add_page()

    def footer(self) -> None:
        """Which page of how many."""
        self.set_y(-12)
        self.say(f"{self.title}, page {self.page_no()} of {{nb}}", size=8, colour=MUTED)

    def say(self, text: str, *, size: float = 9.5, bold: bool = False, colour: tuple[int, int, int] = INK) -> None:
        """A paragraph."""
        self.set_font("helvetica", style="B" if bold else "", size=size)
        self.set_text_color(*colour)
        self.multi_cell(WIDTH, size * 0.5, plain(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def row(self, columns: Columns, values: Sequence[str], *, bold: bool = False) -> None:
        """A line of a table. A text that is too long for its column is cut; an amount never, it is written smaller."""
        self.set_text_color(*INK)
        self.set_draw_color(*LINE)
        for (_, width, align), value in zip(columns, values, strict=True):
            self.set_font("helvetica", style="B" if bold else "", size=ROW_SIZE)
            text = plain(value)
            if align == "R":
                wide = max(self.get_string_width(text), 0.1)
                self.set_font_size(min(ROW_SIZE, ROW_SIZE * (width - 2) / wide))
            self.cell(width, ROW, text if align == "R" else self._cut(text, width), border="B", align=align)
        self.ln(ROW)

    def head(self, columns: Columns) -> None:
        """The headings."""
        self.row(columns, [name for name, _, _ in columns], bold=True)

    def _cut(self, text: str, width: float) -> str:
        while text and self.get_string_width(text) > width - 2:
            text = text[:-1]
        return text


def statement_pdf(statement: Statement, made_at: datetime) -> bytes:
    """The statement: opening, every folded line, closing."""
    period = statement.period
    sheet = Sheet(f"Statement {statement.firm.name}, {statement.currency}", made_at)
    sheet.say("Statement", size=18, bold=True)
    sheet.say(f"{statement.firm.name} ({statement.firm.public_id})")
    sheet.say(f"{period.since:%Y-%m-%d} to {period.last_day} (UTC), {statement.currency}, made {made_at:%Y-%m-%d}")
    sheet.ln(3)
    sheet.head(STATEMENT)
    opening, closing = statement.opening, statement.closing
    sheet.row(STATEMENT, [f"{period.since:%Y-%m-%d}", "Opening balance", *_held(opening)], bold=True)
    for line in statement.lines:
        label, about = LABELS.get(line.code, line.code), statement.about.get(line.subject, "")
        sheet.row(STATEMENT, [f"{line.first_at:%Y-%m-%d}", f"{label}: {about}".rstrip(": "), *_held(line.moved)])
        if detail := _detail(line):
            sheet.row(STATEMENT, ["", detail, "", "", ""])
    sheet.row(STATEMENT, [f"{period.last_day}", "Closing balance", *_held(closing)], bold=True)
    sheet.ln(3)
    sheet.say(f"Sold {format_micros(statement.sold_micros)}, fees {format_micros(statement.fees_micros)}.")
    _coins(sheet, "Closing balance", closing.total_micros, statement.currency)
    return bytes(sheet.output())


def document_pdf(document: Document) -> bytes:
    """An invoice or a credit note."""
    kind = DocumentKind(document.kind)
    sheet = Sheet(f"{kind.label} {document.number_text}", document.issued_at)
    sheet.say(f"{kind.label} {document.number_text}", size=18, bold=True)
    for side in ("issuer", "recipient"):
        party = document.parties[side]
        number = f" ({party['id']})" if party["id"] else ""
        sheet.say(f"{side.capitalize()}: {party['name']}{number}, {party['country']}")
    sheet.say(f"Period {document.since:%Y-%m-%d} to {document.until:%Y-%m-%d}, not included; "
              f"issued {document.issued_at:%Y-%m-%d}")  # fmt: skip
    if document.refers_to:
        sheet.say(f"Takes back a part of {document.refers_to.number_text}: {document.reason}", bold=True)
    if kind == DocumentKind.PURCHASE:
        sheet.say("Issued by the exchange in the name of the seller.", colour=MUTED)
    sheet.ln(3)
    sheet.head(INVOICE)
    for line in document.lines:
        amounts = [format_micros(line["tax_micros"]), format_micros(line["amount_micros"])]
        sheet.row(INVOICE, [line["what"], line["subject"], *amounts])
    totals = [format_micros(document.tax_micros), format_micros(document.total_micros)]
    sheet.row(INVOICE, [f"Total in {document.currency}, all in", "", *totals], bold=True)
    sheet.ln(3)
    _coins(sheet, "Total", document.total_micros, document.currency)
    sheet.say("The amount has moved on the exchange already: nothing is left to pay.", colour=MUTED)
    return bytes(sheet.output())


def _detail(line: Line) -> str:
    parts = [line.subject] if line.subject else []
    if line.journals_count > 1:
        parts.append(f"{line.journals_count} entries")
    if line.fee_micros is not None:
        parts.append(f"{format_micros(line.gross_micros or 0)} less fee {format_micros(line.fee_micros)}")
    return ", ".join(parts)


def _held(held: Held) -> list[str]:
    return [format_micros(each) for each in (held.free_micros, held.held_micros, held.earned_micros)]


def _coins(sheet: Sheet, what: str, micros: int, currency: str) -> None:
    coins = rounded(micros, currency)
    sheet.say(f"{what}: exactly {format_micros(micros)} {currency}; in coins "
              f"{format_micros(coins.micros, coins.places)} {currency}, of which rounding "
              f"{format_micros(coins.difference_micros)}.", bold=True)  # fmt: skip


def plain(text: str) -> str:
    """Text that the fonts have; letters of other scripts in Latin ones, so that a name can still be read."""
    return "".join(each if ord(each) < LATIN_1_END else anyascii(each) for each in text.translate(PLAIN))
