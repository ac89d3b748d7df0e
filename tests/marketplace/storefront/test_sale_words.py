"""Every step, every silence, every event and every difference has its words; the stops of a sale are in their order."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from marketplace.sales.models import Sale
from marketplace.sales.services.silences import advance_sales
from marketplace.sales.silence import SILENCES, Party, Step
from marketplace.sales.states import SaleState
from marketplace.storefront import sale_words
from nodes.passports import comparison
from tests.cards import buy, list_for_sale, measure_for, receive, ship
from tests.factories import fund, make_firm
from tests.hosts import Host

SERVICES = Path(sale_words.__file__).parents[1] / "sales" / "services"
USD = 1_000_000


def test_every_step_and_every_outcome_has_its_words():
    assert set(sale_words.TASKS) == set(Step) == set(SILENCES)
    assert {silence.outcome for silence in SILENCES.values()} <= set(sale_words.FOLLOWS)
    assert set(SaleState) <= set(sale_words.EVENTS)


def test_every_event_that_the_services_record_has_its_words():
    said = "".join(path.read_text() for path in SERVICES.glob("*.py"))
    names = set(re.findall(r"\b(?:step|tell)\(sale, \"(\w+)\"", said))
    assert {"sent_back", "evidence", "at_lab"} <= names <= set(sale_words.EVENTS)


def test_every_difference_of_two_measurements_has_its_words():
    said = Path(comparison.__file__).read_text()
    codes = {*comparison.IDENTITY, *re.findall(r"(?:Difference|_more)\(\"(\w+)\"", said)}
    assert codes <= set(sale_words.DIFFERENCES)
    assert sale_words.difference_words("cuda.sm_count") == "Multiprocessors, as CUDA says"
    assert sale_words.difference_words("driver.uuid") == "UUID, as the driver says"
    for stem in ("soak", "remapped_rows_correctable", "remapped_rows_uncorrectable", "remap_failed", "remap_pending"):
        assert stem in sale_words.DIFFERENCES


def test_a_measured_value_is_shown_in_words():
    shown = [sale_words.shown_difference(value) for value in (True, False, [], [1, 2], None, 24)]
    assert shown == ["yes", "no", "none", "1, 2", "not told", "24"]


def test_a_turn_is_mine_only_for_the_party_whose_turn_it_is():
    for step, silence in SILENCES.items():
        for side in ("buyer", "seller", "lab", "operator"):
            assert sale_words.turn_of(step, side).is_mine == (silence.party == side)
    ship, ruling = Step.TO_SHIP, Step.DISPUTED_DELIVERED
    assert "with a credit" in sale_words.turn_of(ship, "buyer").follows
    assert "credit" not in sale_words.turn_of(ship, "buyer", at_the_end=True).follows
    assert sale_words.turn_of(ruling, "buyer").follows == "the buyer sends the card back"
    assert sale_words.turn_of(ruling, "buyer", at_the_end=True).follows == "the seller gets the money"
    assert SILENCES[Step.RECEIVED].party == Party.NOBODY
    assert sale_words.turn_of(None, "buyer").party == ""


@pytest.fixture
def sales(db, frozen, card_rules):
    alice, bob, now = make_firm("Alice"), make_firm("Bob"), frozen.now()
    fund(bob, 10_000 * USD)
    cards = Host(alice, now, gpu="rtx-4090", count=3).cards
    return buy(bob, list_for_sale(cards, now=now), now=now, count=3)


def stops(sale):
    """(name, mark) of each stop."""
    return [(each.name, each.mark) for each in sale_words.phases_of(Sale.objects.get(pk=sale.pk))]


def test_the_stops_of_a_sale_that_goes_well(sales, frozen):
    sale = sales[0]
    assert stops(sale) == [("Agreed", "done"), ("Paid", "now"), ("Shipped", ""), ("Received", ""), ("Released", "")]
    ship(sale, now=frozen.now())
    receive(sale, now=frozen.now())
    assert stops(sale)[3:] == [("Received", "now"), ("Released", "")]
    measure_for(sale, now=frozen.now())
    assert [mark for _, mark in stops(sale)] == ["done"] * 5


def test_the_stops_of_sales_that_do_not(sales, frozen):
    silent, swapped, _ = sales
    ship(swapped, now=frozen.now())
    other = Host(swapped.buyer, frozen.now(), gpu="rtx-4090", count=1).cards[0]
    measure_for(swapped, now=frozen.now(), card=other)
    assert stops(swapped)[-2:] == [("Disputed", "failed"), ("Released", "")]
    advance_sales(now=frozen.now() + timedelta(days=10))
    assert stops(silent) == [("Agreed", "done"), ("Paid", "done"), ("Cancelled", "failed")]
