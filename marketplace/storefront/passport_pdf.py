"""A passport on one sheet of paper, with a code that leads to its page."""

from __future__ import annotations

import segno
from fpdf import FPDF

from marketplace.storefront.displays import display_of
from marketplace.storefront.passports import PROVES, PROVES_NOT, PassportView
from marketplace.storefront.wording import grouped

INK, MUTED = (24, 28, 24), (96, 104, 96)
LEFT, WIDTH, QR_MM = 18.0, 174.0, 34.0
# The fonts that every reader has know Latin-1 alone.
PLAIN = str.maketrans({"\N{NARROW NO-BREAK SPACE}": " ", "–": "-", "’": "'", "…": "...", "×": "x"})


def qr_data_uri(url: str) -> str:
    """The code as an image that a page can hold; on white in every theme, or no camera reads it."""
    return str(segno.make(url, error="m").svg_data_uri(scale=4, border=4, light="#fff"))


def passport_pdf_bytes(view: PassportView) -> bytes:
    """The sheet."""
    passport = view.passport
    sheet = FPDF(format="A4")
    sheet.set_title(f"Card passport {passport.public_id}")
    sheet.set_creation_date(passport.recorded_at)
    sheet.set_margins(LEFT, 16, LEFT)
    sheet.set_auto_page_break(True, 14)
    sheet.add_page()
    _code(sheet, view.url)
    _text(sheet, "Fallow card passport", size=10, colour=MUTED)
    _text(sheet, passport.card.gpu_model.marketing_name, size=20, bold=True)
    memory = "" if view.memory_mib is None else f"{grouped(view.memory_mib)} MiB, "
    _text(sheet, f"{memory}card {view.card_code}", size=11)
    _text(sheet, f"Grade {passport.function_grade}: {view.grade_words}", size=11, bold=True)
    _text(sheet, f"{passport.tier.capitalize()} as {passport.role} on {_day(view)}, good until "
          f"{passport.expires_at:%Y-%m-%d}; number {passport.seq} of this card", size=9, colour=MUTED)  # fmt: skip
    sheet.ln(8)
    _part(
        sheet,
        "Findings",
        [(display_of("severity", each.severity).text, each.words) for each in view.findings] or [("", "None.")],
    )
    _part(sheet, "Tests", [(each.name, each.value) for each in view.tests])
    _part(sheet, "Since it was first seen", [(each.name, each.value) for each in view.history])
    _part(sheet, "What this proves", [("", each) for each in PROVES])
    _part(sheet, "What it does not prove", [("", each) for each in PROVES_NOT])
    _part(sheet, "To check it", [
        ("Page", view.url), ("SHA-256", passport.sha256), ("Market's key", view.market_key),
        ("Offline", "python -m nodes.passports.verify FILE --key KEY, with the file from the page"),
    ])  # fmt: skip
    return bytes(sheet.output())


def _day(view: PassportView) -> str:
    return f"{view.passport.measured_at:%Y-%m-%d}"


def _code(sheet: FPDF, url: str) -> None:
    matrix = [list(row) for row in segno.make(url, error="m").matrix_iter(border=0)]
    step = QR_MM / len(matrix)
    left, top = LEFT + WIDTH - QR_MM, 16.0
    sheet.set_fill_color(*INK)
    for down, row in enumerate(matrix):
        for across, is_dark in enumerate(row):
            if is_dark:
                sheet.rect(left + across * step, top + down * step, step + 0.02, step + 0.02, style="F")
    sheet.link(left, top, QR_MM, QR_MM, url)


def _part(sheet: FPDF, title: str, lines: list[tuple[str, str]]) -> None:
    _text(sheet, title, size=11, bold=True)
    for name, value in lines:
        sheet.set_font("helvetica", size=9)
        if name:
            sheet.set_text_color(*MUTED)
            sheet.cell(38, 4.6, _plain(name))
        sheet.set_text_color(*INK)
        sheet.multi_cell(WIDTH - (38 if name else 0), 4.6, _plain(value), align="L", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(2.5)


def _text(sheet: FPDF, line: str, *, size: int, bold: bool = False, colour: tuple[int, int, int] = INK) -> None:
    sheet.set_font("helvetica", style="B" if bold else "", size=size)
    sheet.set_text_color(*colour)
    sheet.multi_cell(WIDTH - QR_MM - 6, size * 0.5, _plain(line), align="L", new_x="LMARGIN", new_y="NEXT")


def _plain(line: str) -> str:
    return line.translate(PLAIN).encode("latin-1", "replace").decode("latin-1")
