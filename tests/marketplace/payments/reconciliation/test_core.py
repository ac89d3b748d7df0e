"""The comparison alone, against what was planted and against plain sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from marketplace.payments.reconciliation.core import Accepted, Books, Key, Kind, PaidOut, differences
from tests.marketplace.payments.reconciliation.planting import (
    CENT,
    FAULTS,
    READ_AT,
    Planted,
    changed,
    paid_out,
    plant,
    twice,
)

YOUNG = READ_AT - timedelta(minutes=10)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LINES = some.lists(
    some.tuples(
        some.integers(-900, 900).filter(bool), some.integers(0, 9), some.sampled_from(("USD", "EUR", "JPY")),
        some.none() | some.sampled_from(FAULTS),
    ),
    max_size=25,
)  # fmt: skip


def planted(lines) -> Planted:
    here = Planted()
    names = [here.pair(n, cents * CENT, fee * CENT, currency) for n, (cents, fee, currency, _) in enumerate(lines)]
    for name, (_, _, _, fault) in zip(names, lines, strict=True):
        if fault is not None:
            fault(here, here.entries[name])
    return here


def keys(books: Books) -> list[Key]:
    return sorted(each.key for each in differences(books))


@MANY
@given(LINES)
def test_what_was_planted_is_found_and_nothing_else(lines):
    here = planted(lines)
    assert keys(here.books()) == sorted(here.keys)


@MANY
@given(LINES)
def test_a_ledger_with_every_difference_on_suspense_has_the_gateways_balance(lines):
    books = planted(lines).books()
    ledger = Counter()
    for each in books.booked:
        ledger[each.currency] += each.net_micros
    for each in differences(books):
        ledger[each.key.currency] += each.off_micros
    assert {currency: micros for currency, micros in ledger.items() if micros} == {
        currency: micros for currency, micros in books.holdings.items() if micros
    }


@MANY
@given(LINES)
def test_what_was_explained_is_silent_until_it_changes(lines):
    here = planted(lines)
    accepted = {
        each.key: Accepted(each.expected_micros, each.found_micros, each.off_micros)
        for each in differences(here.books())
    }
    assert differences(here.books(accepted)) == []
    right = planted([(cents, fee, currency, None) for cents, fee, currency, _ in lines])
    off = Counter()
    for key, each in accepted.items():
        off[key.subject, key.currency] -= each.off_micros
    undone = {(each.key.subject, each.key.currency): each.off_micros for each in differences(right.books(accepted))}
    assert undone == {name: micros for name, micros in off.items() if micros}
    again = {
        each.key: Accepted(each.expected_micros, each.found_micros, each.off_micros)
        for each in differences(right.books(accepted))
    }
    assert differences(right.books(accepted | again)) == []


def accept(books):
    return {each.key: Accepted(each.expected_micros, each.found_micros, each.off_micros) for each in differences(books)}


def test_what_was_explained_without_money_is_silent_for_those_amounts_alone():
    here = Planted()
    here.in_transit = {"USD": (5 * CENT, CENT)}
    accepted = accept(here.books())
    assert differences(here.books(accepted)) == []
    here.in_transit = {"USD": (6 * CENT, CENT)}
    assert len(differences(here.books(accepted))) == 1


def test_what_was_explained_is_a_difference_again_when_the_ledger_lacks_another_amount():
    here = Planted()
    entry = here.entries[here.pair(1, 100 * CENT)]
    changed(here, entry)
    accepted = accept(here.books())
    old = here.journal(entry.id)
    here.swap(old, replace(old, net_micros=old.net_micros + 7 * CENT))
    (each,) = differences(here.books(accepted))
    assert (each.key.kind, each.off_micros) == (Kind.CHANGED, -7 * CENT)


@pytest.mark.parametrize(
    ("fault", "expected", "found", "off"),
    [
        ("not_booked", 95, 0, 95), ("not_there", 0, 95, -95), ("by_nobodys_name", 0, 95, -95),
        ("other_amount", 100, 97, 3), ("other_fee", 5, 4, -1), ("twice", 95, 190, -95), ("changed", 102, 95, 7),
        ("wrong_payout", 96, 95, 0),
    ],
)  # fmt: skip
def test_amounts_say_what_each_side_has_and_what_clearing_lacks(fault, expected, found, off):
    here = Planted()
    name = here.pair(1, 100 * CENT, 5 * CENT)
    next(each for each in FAULTS if each.__name__ == fault)(here, here.entries[name])
    (each,) = differences(here.books())
    assert [each.expected_micros, each.found_micros, each.off_micros] == [n * CENT for n in (expected, found, off)]


def test_an_entry_in_another_currency_is_missing_in_one_and_too_much_in_the_other():
    here = Planted()
    name = here.pair(1, 100 * CENT)
    next(each for each in FAULTS if each.__name__ == "other_currency")(here, here.entries[name])
    assert {each.key.currency: each.off_micros for each in differences(here.books())} == {
        "USD": 100 * CENT, "EUR": -100 * CENT,
    }  # fmt: skip


def test_what_is_young_is_still_on_its_way_in_both_directions():
    here = Planted()
    lost = here.pair(1, 100 * CENT, at=YOUNG)
    here.booked.clear()
    here.booked.append(replace(plant(1, 0).booked[0], ref="stripe:txn_new", at=YOUNG))
    assert keys(here.books()) == []
    later = replace(here.books(), settled_before=READ_AT)
    assert {each.kind for each in keys(later)} == {Kind.NOT_BOOKED, Kind.NOT_THERE}
    assert lost in {each.subject for each in keys(later)}


def test_an_entry_of_nothing_needs_no_journal():
    here = Planted()
    here.pair(1, 0)
    here.booked.clear()
    assert keys(here.books()) == []


def test_an_entry_that_is_a_cost_is_booked_as_nothing_else():
    here = Planted()
    name = here.pair(1, -2 * CENT, type="stripe_fee")
    assert keys(here.books()) == [Key(Kind.AMOUNT, name, "USD"), Key(Kind.FEE, name, "USD")]
    assert sum(each.off_micros for each in differences(here.books())) == 0
    here.swap(here.journal(name), replace(here.journal(name), fee_micros=2 * CENT))
    assert keys(here.books()) == []


def test_an_entry_that_changed_and_is_not_booked_is_both():
    here = Planted()
    entry = here.entries[here.pair(1, 100 * CENT)]
    changed(here, entry)
    here.booked.clear()
    assert {each.key.kind: each.off_micros for each in differences(here.books())} == {
        Kind.CHANGED: 0, Kind.NOT_BOOKED: 107 * CENT,
    }  # fmt: skip


def test_a_journal_of_another_gateway_is_no_booking_of_this_one():
    here = Planted()
    entry = here.entries[here.pair(1, 100 * CENT)]
    here.swap(here.journal(entry.id), replace(here.journal(entry.id), ref=f"wire:{entry.id}"))
    assert {each.kind for each in keys(here.books())} == {Kind.NOT_THERE, Kind.NOT_BOOKED}


def test_three_journals_for_one_entry_are_one_difference():
    here = Planted()
    entry = here.entries[here.pair(1, 100 * CENT)]
    twice(here, entry)
    here.booked.append(replace(here.journal(entry.id), ref=f"stripe:{entry.id}:by-hand"))
    (each,) = differences(here.books())
    assert (each.key.kind, each.off_micros) == (Kind.TWICE, -200 * CENT)


def test_a_balance_may_be_read_between_two_entries_of_its_moment():
    here = Planted()
    here.pair(1, 100 * CENT)
    for number, seconds in ((2, -2), (3, 1), (4, 3)):
        here.pair(number, number * CENT, at=READ_AT + timedelta(seconds=seconds))
    for held, fits in ((100, True), (102, True), (105, True), (109, True), (103, False), (0, False)):
        books = replace(here.books(), holdings={"USD": held * CENT})
        assert (keys(books) == []) is fits
    (each,) = differences(replace(here.books(), holdings={"USD": 0}))
    assert (each.expected_micros, each.found_micros) == (0, 102 * CENT)
    assert each.off_micros == -102 * CENT


def test_a_balance_in_a_currency_without_entries_differs():
    assert keys(replace(Planted().books(), holdings={"SEK": CENT})) == [Key(Kind.BALANCE, "balance", "SEK")]


def test_entries_that_were_left_out_count_in_the_balance():
    here = Planted()
    here.pair(1, 100 * CENT)
    books = replace(here.books(), holdings={"USD": 130 * CENT}, left_out={"USD": 30 * CENT})
    assert keys(books) == []


def test_payouts_are_the_sum_of_their_parts_and_of_their_own_entry():
    here = Planted()
    entry = here.entries[here.pair(1, 100 * CENT, 5 * CENT)]
    paid_out(here, entry)
    assert keys(here.books()) == []
    whole = here.payouts[0]
    here.payouts = [replace(whole, parts=("txn_gone",))]
    (each,) = differences(here.books())
    assert (each.found_micros, each.evidence["unknown_parts"]) == (0, ["txn_gone"])
    here.payouts = [replace(whole, parts=None), PaidOut("po_2", "USD", CENT, READ_AT - timedelta(days=1))]
    assert keys(here.books()) == [Key(Kind.PAYOUT, "po_2", "USD")]
    here.payouts = [PaidOut("po_2", "USD", CENT, YOUNG)]
    assert keys(here.books()) == []


def test_money_in_transit_is_what_the_ledger_says():
    here = Planted()
    here.in_transit = {"USD": (5 * CENT, 5 * CENT), "EUR": (CENT, 0)}
    assert keys(here.books()) == [Key(Kind.TRANSIT, "in_transit", "EUR")]


def test_a_hundred_in_ten_thousand_are_found_and_none_that_is_not_there():
    here = plant(10_000, 100)
    found = differences(here.books())
    assert {each.key for each in found} == here.keys
    assert (
        len({each.key.subject for each in found})
        == len(found) - len([k for k in here.keys if k.kind == "currency"]) // 2
    )
