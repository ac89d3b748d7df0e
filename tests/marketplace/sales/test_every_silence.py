"""The written table, walked: a real sale in every step, its party silent for its own time, and for 60 days."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from marketplace.common.errors import NotAllowed
from marketplace.ledger.models import Account, AccountKind
from marketplace.sales.models import Sale
from marketplace.sales.services.addresses import question_address
from marketplace.sales.services.disputing import dispute_sale, rule
from marketplace.sales.services.silences import advance_sales
from marketplace.sales.silence import HELD_AT_MOST, SILENCES, Step, step_of
from marketplace.sales.states import ENDS
from nodes.models import Claim
from tests.cards import buy, list_for_sale, make_lab, measure_for, receive, ship
from tests.factories import NOON, make_firm, make_person

pytestmark = pytest.mark.django_db
TABLE = [
    [cell.strip() for cell in line.strip("| ").split("|")]
    for line in (Path(__file__).parents[3] / "docs" / "sales.md").read_text().splitlines()
    if re.match(rf"\| ({'|'.join(Step)}) \|", line)
]
LATER = NOON + timedelta(hours=1)
TERMS = {
    Step.AGREED: {"ships_to": "CN"},
    Step.SHIPPING_HELD: {"ships_to": "VN"},
    **{step: {"route": "lab"} for step in (Step.TO_LAB, Step.AT_LAB, Step.FROM_LAB)},
}


class Way:
    """Brings a sale to a step by what its sides say, within the first hour."""

    def __init__(self, deal, lab) -> None:
        self.deal, self.lab, self.operator = deal, lab, make_person(is_operator=True)

    def sale(self) -> Sale:
        return Sale.objects.get()

    def ship(self, firm=None):
        ship(self.sale(), now=LATER, firm=firm)

    def to(self, step: Step) -> None:
        getattr(self, step.value)()

    def agreed(self):
        pass

    def to_ship(self):
        pass

    def shipping_held(self):
        with pytest.raises(NotAllowed):
            self.ship()

    def address_asked(self):
        firm, sale = self.deal.alice, self.sale().public_id
        question_address(firm=firm, public_id=sale, reason="no street", actor="t", now=LATER)

    def to_lab(self):
        self.ship()

    def at_lab(self):
        self.ship()
        receive(self.sale(), now=LATER, firm=self.lab)

    def from_lab(self):
        self.at_lab()
        measure_for(self.sale(), now=LATER, role="lab", firm=self.lab)

    def to_buyer(self):
        self.ship()

    def inspecting(self):
        self.ship()
        receive(self.sale(), now=LATER)

    def disputed_undelivered(self):
        self.ship()
        advance_sales(now=self.sale().deadline_at)

    def disputed_delivered(self):
        self.inspecting()
        dispute_sale(firm=self.deal.bob, public_id=self.sale().public_id, text="x", actor="t", now=LATER)

    def to_send_back(self):
        self.disputed_delivered()
        rule(operator=self.operator, public_id=self.sale().public_id, ruling="return", now=LATER)

    def on_its_way_back(self):
        self.to_send_back()
        self.ship(self.deal.bob)

    def disputed_return_unproven(self):
        self.on_its_way_back()
        advance_sales(now=self.sale().deadline_at)

    def back(self):
        self.on_its_way_back()
        receive(self.sale(), now=LATER, firm=self.deal.alice)

    def disputed_returned(self):
        self.back()
        dispute_sale(firm=self.deal.alice, public_id=self.sale().public_id, text="x", actor="t", now=LATER)


def time_of(text: str, is_abroad: bool) -> tuple[int, int]:
    """(days, working days) as the table has them."""
    working = re.search(r"(\d+) working days", text)
    days = re.search(r"(\d+) days(?: \((\d+) across borders\))?", text.replace("working days", ""))
    if working or not days:
        return 0, int(working[1]) if working else 0
    return int(days[2] if is_abroad and days[2] else days[1]), 0


SILENT = [row for row in TABLE if row[0] != Step.RECEIVED]  # which `arrive` passes through at once: nobody is asked


@pytest.mark.parametrize("row", SILENT, ids=[row[0] for row in SILENT])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_real_sale_does_what_the_written_table_says(deal, row, at_the_end):
    step, party, silent_for, then, after_sixty = row
    lab = make_firm("Lab")
    make_lab(lab)
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    buy(deal.bob, listing, now=NOON, **TERMS.get(Step(step), {}))
    way = Way(deal, lab)
    way.to(Step(step))
    sale = way.sale()
    assert (step_of(sale.facts()), SILENCES[Step(step)].party) == (step, party)
    days, working = time_of(silent_for, sale.is_abroad)
    wanted, end = after_sixty, sale.facts().ship_clock_at + HELD_AT_MOST
    if not at_the_end:
        wanted, _, _ = then.partition(" ")
        end = sale.step_at + timedelta(days=days)
        while working:
            end += timedelta(days=1)
            working -= end.weekday() < 5
        assert sale.deadline_at == end
        advance_sales(now=end - timedelta(seconds=1))
        assert way.sale().state == sale.state
    advance_sales(now=end)
    moved = way.sale()
    assert moved.state == wanted
    assert (moved.credit_micros > 0) == ("credit" in then and not at_the_end)
    if not at_the_end:
        assert moved.end_reason in then
    while way.sale().state not in ENDS:  # and whoever goes on saying nothing, it ends, in time
        assert way.sale().deadline_at <= sale.facts().ship_clock_at + HELD_AT_MOST
        advance_sales(now=way.sale().deadline_at)
    call_command("audit_ledger", stdout=io.StringIO())
    assert not Account.objects.filter(kind=AccountKind.ESCROW, balance_micros__gt=0).exists()
    assert not Claim.objects.filter(period__upper_inf=True).exists()


def test_the_written_table_has_every_step():
    assert [row[0] for row in TABLE] == list(SILENCES)
