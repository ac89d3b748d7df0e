"""On paper a text may be cut, an amount never."""

from __future__ import annotations

from marketplace.books.pdf import STATEMENT, Sheet, plain
from tests.factories import NOON


def test_an_amount_is_written_smaller_rather_than_cut():
    sheet = Sheet("Statement", NOON)
    sheet.set_compression(False)
    amount = "-999999999123456789.123456"
    sheet.row(STATEMENT, ["2026-11-01", "long " * 40, amount, amount, amount], bold=True)
    page = bytes(sheet.output())
    assert page.count(amount.encode()) == 3
    assert b"long " * 40 not in page


def test_a_name_in_other_letters_can_be_read():
    assert plain("Müller–深圳 Łódź ×") == "Müller-ShenZhen Lódz x"
