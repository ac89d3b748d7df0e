"""Files of banks: what is read, and that a bad one is refused with its line named."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.payments.reference import new_reference, reference_for
from marketplace.payments.wire.camt import read_camt
from marketplace.payments.wire.csvfile import csv_map, read_csv
from marketplace.payments.wire.lines import BadStatement, identities
from marketplace.payments.wire.matching import Announced, credit_match, references_in
from tests.marketplace.payments.wire.statements import EURO, OURS, THEIRS, Paid, camt, entry

HOW = csv_map(
    "account=Konto;currency=Währung;date=Buchungstag;amount=Betrag;balance=Saldo;text=Verwendungszweck;name=Partner;"
    "counter_account=IBAN;reference=Ref;end_to_end=E2E",
    ",",
    "%d.%m.%Y",
)
HEAD = "Konto;Währung;Buchungstag;Betrag;Saldo;Verwendungszweck;Partner;IBAN;Ref;E2E\n"
ROW = f"{OURS};EUR;23.11.2026;1.250,50;1.350,50;for hours;A & B;{THEIRS};r1;\n"


@pytest.mark.parametrize("version", ["02", "04", "08", "13"])
def test_a_statement_is_read_in_every_version(version):
    paid = [Paid(100 * EURO, "RF18 5390", reference="r1"), Paid(-30 * EURO, "fee & co", end_to_end="e2e")]
    (read,) = read_camt(camt(paid, opening=5 * EURO, version=version))
    assert (read.account, read.currency, read.number) == (OURS, "EUR", "1")
    assert (read.opening_micros, read.closing_micros, read.to_on) == (5 * EURO, 75 * EURO, date(2026, 11, 23))
    first, second = read.lines
    assert (first.amount_micros, first.entry_reference, first.text) == (100 * EURO, "r1", "RF18 5390")
    assert (first.name, first.account) == ("Some Firm", THEIRS)
    assert (second.amount_micros, second.end_to_end, second.text) == (-30 * EURO, "e2e", "fee & co")
    assert read.created_at is not None


def test_what_is_not_booked_yet_is_not_read():
    pending = camt([Paid(EURO)], closing=0).replace(b"<Cd>BOOK</Cd>", b"<Cd>PDNG</Cd>")
    assert not read_camt(pending)[0].lines


def test_a_batch_is_read_payment_by_payment():
    parts = "".join(
        f"<TxDtls><Amt Ccy='EUR'>{each}.00</Amt><RmtInf><Ustrd>part {each}</Ustrd></RmtInf></TxDtls>" for each in (3, 4)
    )
    one = entry(Paid(7 * EURO), "EUR")
    batch = one[: one.index("<NtryDtls>")] + f"<NtryDtls>{parts}</NtryDtls></Ntry>"
    (read,) = read_camt(camt([Paid(7 * EURO)]).replace(one.encode(), batch.encode()))
    assert [(line.amount_micros, line.text) for line in read.lines] == [(3 * EURO, "part 3"), (4 * EURO, "part 4")]


GOOD = camt([Paid(100 * EURO), Paid(7 * EURO)])
BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">&b;</Document>"""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (BOMB, "no document type"),
        (b'<!DOCTYPE d SYSTEM "file:///etc/passwd"><d/>', "no document type"),
        (b"<a>\n<b>\n</a>", "line 3"),
        (b"<html/>", "not a camt.053"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "line 1"),
        (GOOD.replace(b"camt.053", b"camt.054"), "not a camt.053"),
        (camt([Paid(EURO)], closing=EURO + 1_0000), "statement 1: its opening balance"),
        (GOOD.replace(b">7.00<", b">seven<"), "statement 1, entry 2"),
        (GOOD.replace(b">7.00<", b">-7.00<"), "statement 1, entry 2"),
        (GOOD.replace(b">7.00<", b">0.00<"), "statement 1, entry 2"),
        (GOOD.replace(b'Ccy="EUR">7.00<', b'Ccy="USD">7.00<'), "entry 2: it is in USD"),
        (GOOD.replace(b"<BookgDt><Dt>2026-11-23</Dt></BookgDt>", b""), "entry 1: it has no date"),
        (GOOD.replace(b"CLBD", b"ITBD"), "no balance CLBD"),
        (GOOD.replace(f"<IBAN>{OURS}</IBAN>".encode(), b"", 1), "no account"),
        (GOOD.replace(b"<CdtDbtInd>CRDT</CdtDbtInd><Sts>", b"<Sts>"), "neither credit nor debit"),
    ],
)
def test_a_bad_file_is_refused_and_the_entry_named(data, says):
    with pytest.raises(BadStatement, match=says):
        read_camt(data)


def test_a_table_is_read_by_its_map_whichever_way_it_runs():
    later = f"{OURS};EUR;24.11.2026;-50,50;1.300,00;fee;Bank;;r2;e9\n"
    for rows in (ROW + later, later + ROW):
        (read,) = read_csv((HEAD + rows).encode("utf-8-sig"), HOW)
        assert (read.opening_micros, read.closing_micros) == (100 * EURO, 1300 * EURO)
        assert [line.amount_micros for line in read.lines] == [1_250_500_000, -50_500_000]
        assert (read.from_on, read.to_on) == (date(2026, 11, 23), date(2026, 11, 24))
        assert (read.lines[0].name, read.lines[0].account, read.lines[0].entry_reference) == ("A & B", THEIRS, "r1")
        assert read.lines[1].end_to_end == "e9"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "line 2: there is no entry"),
        (HEAD.replace("Saldo", "Stand") + ROW, "line 1: the column 'Saldo' is missing"),
        (HEAD + ROW.replace("1.250,50", "1,250.50"), "line 2: '1,250.50' is no amount"),
        (HEAD + ROW.replace("23.11.2026", "2026-11-23"), "line 2: '2026-11-23' is no date"),
        (HEAD + ROW.replace(";r1;", ";r1"), "line 2: it has more or fewer"),
        (HEAD + ROW + ROW, "line 3: its balance"),
        (HEAD + ROW.replace("1.250,50", "0,00"), "line 2: the amount is nothing"),
        (HEAD + '"' + ROW, "line"),
    ],
)
def test_a_bad_table_is_refused_and_the_line_named(text, says):
    with pytest.raises(BadStatement, match=says):
        read_csv(text.encode(), HOW)


def test_a_table_that_is_not_utf8_names_the_line():
    with pytest.raises(BadStatement, match="line 1"):
        read_csv(HEAD.encode("latin-1"), HOW)


@pytest.mark.parametrize("text", ["nonsense=1", "date"])
def test_a_map_with_an_unknown_name_is_refused(text):
    with pytest.raises(ValueError, match="column map"):
        csv_map(text)


def test_lines_that_are_alike_are_two_and_a_longer_file_gives_them_the_same_names():
    twice = read_camt(camt([Paid(EURO, "same"), Paid(EURO, "same")]))[0]
    more = read_camt(camt([Paid(EURO, "same"), Paid(EURO, "same"), Paid(EURO, "other")], number="2"))[0]
    assert len(set(identities(twice))) == 2
    assert identities(more)[:2] == identities(twice)


@given(noise=st.text(" .-/", max_size=3), before=st.text("ABR 0", max_size=5), place=st.integers(0, 18))
def test_a_reference_is_found_however_the_bank_broke_it(noise, before, place):
    reference = new_reference()
    written = f"{before}{reference[:place]}{noise}\n{reference[place:].lower()} thanks"
    assert reference in list(references_in(written))


@given(
    came=st.integers(1, 5), announced=st.integers(1, 5), state=st.sampled_from(["created", "confirmed", "expired"]),
    shown=st.booleans(), same=st.booleans(),
)  # fmt: skip
def test_what_a_credit_is_against_a_table(came, announced, state, shown, same):
    deposit = Announced("EUR", announced, state, shown)
    size = "exact" if came == announced else "over" if came > announced else "partial"
    expected = {
        "created": size,
        "expired": "late",
        "confirmed": "over" if shown else {"exact": "by_hand"}.get(size, size),
    }[state]
    assert credit_match(came, "EUR" if same else "USD", deposit) == (expected if same else "unknown")
    assert credit_match(came, "EUR", None) == "unknown"


@given(data=st.data(), table=st.booleans())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data, table):
    good = bytearray((HEAD + ROW).encode() if table else GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=6))
    try:
        for statement in read_csv(bytes(good), HOW) if table else read_camt(bytes(good)):
            identities(statement)
            assert statement.opening_micros + sum(each.amount_micros for each in statement.lines) == (
                statement.closing_micros
            )
    except BadStatement as error:
        assert str(error)


@given(wrong=st.integers(0, 99))
def test_a_reference_whose_check_digits_do_not_fit_is_none(wrong):
    good = reference_for("0123456789ABCD")
    written = f"RF{wrong:02}{good[4:]}"
    assert list(references_in(written)) == ([good] if written == good else [])


def test_a_part_in_another_currency_does_not_spoil_the_entry():
    parts = "<TxDtls><Amt Ccy='EUR'>7.00</Amt></TxDtls><TxDtls><Amt Ccy='USD'>8.10</Amt></TxDtls>"
    one = entry(Paid(7 * EURO), "EUR")
    batch = one[: one.index("<NtryDtls>")] + f"<NtryDtls>{parts}</NtryDtls></Ntry>"
    (read,) = read_camt(camt([Paid(7 * EURO)]).replace(one.encode(), batch.encode()))
    assert [line.amount_micros for line in read.lines] == [7 * EURO]
