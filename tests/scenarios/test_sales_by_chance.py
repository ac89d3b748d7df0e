"""Rent, sell, take back, dispute and let time pass, in any order and by several workers at once.

Whatever they did: no card is claimed twice at any moment, no money is lost, and every sale ends in time.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import threading
import traceback
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from listings.cards.services import close_card_listing, open_card_listing, pause_card_listing
from listings.models import CardListing
from marketplace.common.errors import DomainError
from marketplace.compliance.tablefile import table_in_force
from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases
from marketplace.leases.services.ending import end_by_buyer, free_cards_of_stopped_leases
from marketplace.leases.states import LIVE
from marketplace.ledger.models import Account, AccountKind, Entry
from marketplace.matching.rounds import run_round
from marketplace.orders.models import Order
from marketplace.orders.services.closing import request_cancel
from marketplace.orders.services.placing import OrderRequest, place_order_once
from marketplace.sales.models import CardBid, Sale
from marketplace.sales.services.arrivals import notice_arrivals
from marketplace.sales.services.bidding import cancel_bid, change_bid, expire_bids
from marketplace.sales.services.disputing import add_evidence, dispute_sale, rule
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.relisting import offer_again
from marketplace.sales.services.shipping import accept_sale, prove_arrival
from marketplace.sales.services.silences import advance_sales, collect_credits
from marketplace.sales.silence import HELD_AT_MOST
from marketplace.sales.states import ENDS, HOLDS_MONEY
from marketplace.settlement.audit import wrong_escrows
from marketplace.settlement.services import settle_leases
from nodes.models import Card, CardState
from nodes.services.claims import shorten_claims, take_claims
from nodes.states import ClaimKind
from tests.cards import bid, buy, draft, list_for_sale, make_lab, measure, receive, ship
from tests.factories import fund, make_firm, make_person
from tests.hosts import HOST_KEY, Host
from tests.market import USD, Market

FULL = os.environ.get("TRIALS") == "full"
SEEDS = range(12 if FULL else 2)
WORKERS, ACTS = (6, 120) if FULL else (4, 60)
WORKLOAD = {"image": "fallow/demo", "ssh_public_key": HOST_KEY}
OVERLAPS = """
    SELECT count(*) FROM nodes_claim a JOIN nodes_claim b
    ON a.card_id = b.card_id AND a.id < b.id AND a.period && b.period
"""
_keys = itertools.count(1)


class World:
    """Two sellers with cards, two buyers with money, a lab, an operator; one clock that never stands still."""

    def __init__(self, clock) -> None:
        self.market, self.clock, self.lock = Market(clock), clock, threading.Lock()
        self.sellers = [self.market.alice, make_firm("Carol")]
        self.buyers = [self.market.bob, make_firm("Dan")]
        self.lab, self.operator = make_firm("Lab"), make_person(is_operator=True)
        make_lab(self.lab)
        for firm in [*self.sellers, *self.buyers]:
            fund(firm, 20_000 * USD)
        self.hosts = [Host(firm, clock.now(), count=5) for firm in self.sellers]
        for host in self.hosts:
            self.market.list_cards(host, window_end_at=clock.now() + timedelta(days=400))
            list_for_sale(host.cards, now=clock.now(), ask=100 * USD, rent_counts_days=30)
        self.done: Counter[str] = Counter()
        self.broken: list[str] = []

    def now(self, hours: float = 0):
        """The time, a little later for each who asks."""
        with self.lock:
            return self.clock.advance(hours * 3600 + 1)

    def money(self) -> int:
        """Everything that firms and the platform have, wherever it lies."""
        fees = Entry.objects.filter(account__kind=AccountKind.PLATFORM_FEE).values_list("amount_micros", flat=True)
        return sum(Account.objects.exclude(firm=None).values_list("balance_micros", flat=True)) + sum(fees)


class Worker(threading.Thread):
    """Does one thing after another, each chosen by chance."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(daemon=True)
        self.world, self.chance = world, random.Random(seed)

    def run(self) -> None:
        acts = [name for name in dir(self) if name.startswith("do_")]
        try:
            for _ in range(ACTS):
                name = self.chance.choice(acts)
                try:
                    getattr(self, name)(self.world.now(self.chance.choice([0, 0, 0, 1, 1, 20])))
                    self.world.done[name] += 1
                except DomainError:
                    self.world.done["refused"] += 1
        except BaseException as error:  # the test's thread shows it
            self.world.broken.append("".join(traceback.format_exception(error)))
        finally:
            connections.close_all()

    def pick(self, rows):
        found = list(rows)
        if not found:
            raise DomainError("there is none")
        return self.chance.choice(found)

    def sale(self):
        return self.pick(Sale.objects.filter(state__in=sorted(HOLDS_MONEY)).select_related("lab__firm"))

    def do_list(self, now):
        host = self.pick(self.world.hosts)
        cards = self.chance.sample(list(Card.objects.filter(node=host.node)), k=self.chance.choice([1, 2]))
        with self.world.lock:
            for card in cards:
                measure(card, now=now)
        made = draft(cards, now=now, ask=self.chance.randint(80, 120) * USD)
        open_card_listing(firm=made.firm, public_id=made.public_id, actor="t", now=now)

    def do_measure_again(self, now):
        card = self.pick(Card.objects.all())
        with self.world.lock:
            measure(card, now=now)

    def do_pause_or_close(self, now):
        listing = self.pick(CardListing.objects.exclude(state="closed"))
        act = self.chance.choice([pause_card_listing, open_card_listing, open_card_listing, close_card_listing])
        act(firm=listing.firm, public_id=listing.public_id, actor="t", now=now)

    def do_bid(self, now):
        limit = self.chance.randint(100, 200) * USD
        bid(self.pick(self.world.buyers), Card.objects.all()[0], now=now, limit=limit, count=self.chance.choice([1, 2]))

    def do_change_or_cancel_bid(self, now):
        mine = self.pick(CardBid.objects.filter(state="open"))
        if self.chance.random() < 0.5:
            cancel_bid(firm=mine.firm, public_id=mine.public_id, actor="t", now=now)
        else:
            changes = {"limit_micros": self.chance.randint(50, 250) * USD}
            change_bid(firm=mine.firm, public_id=mine.public_id, changes=changes, actor="t", now=now)

    def do_buy(self, now):
        listing = self.pick(CardListing.objects.filter(state="open"))
        buy(self.pick(self.world.buyers), listing, now=now, ships_to=self.chance.choice(["DE", "FR"]),
            route=self.chance.choice(["", "", "lab"]))  # fmt: skip

    do_buy_again = do_buy_too = do_buy

    def do_match(self, now):
        expire_bids(now=now)
        match_cards(now=now)

    def do_rent(self, now):
        with self.world.lock:
            CardState.objects.update(observed_at=now)
        request = OrderRequest(
            count=1, duration_seconds=self.chance.choice([3600, 86_400, 5 * 86_400]), currency="USD",
            cap_micros=500_000, time_in_force="gtc", workload=WORKLOAD, gpus=("h100-sxm5-80gb",),
        )  # fmt: skip
        key = f"rent-{next(_keys)}"
        place_order_once(firm=self.pick(self.world.buyers), actor="t", request=request, key=key, body=key, now=now)
        run_round(now=now)

    do_rent_again = do_rent

    def do_end_lease(self, now):
        lease = self.pick(Lease.objects.filter(state__in=LIVE))
        end_by_buyer(firm=lease.buyer, public_id=lease.public_id, actor="t", now=now)

    def do_take_back(self, now):
        card = self.pick(Card.objects.all())
        holder = f"reclaim_{next(_keys)}"
        end = now + timedelta(hours=self.chance.randint(1, 200))
        take_claims(cards=[card.pk], start=now, end=end, kind=ClaimKind.RECLAIM, holder=holder)
        if self.chance.random() < 0.5:
            with transaction.atomic():
                shorten_claims(holder=holder, until=now + timedelta(minutes=1))

    def do_ship(self, now):
        sale = self.sale()
        ship(sale, now=now, firm=self.pick([sale.seller, sale.seller, sale.buyer, self.world.lab]))

    do_ship_again = do_ship_too = do_ship

    def do_receive(self, now):
        sale = self.sale()
        receive(sale, now=now, firm=self.pick([sale.seller, sale.buyer, self.world.lab]))

    def do_accept(self, now):
        sale = self.sale()
        accept_sale(firm=self.pick([sale.seller, sale.buyer]), public_id=sale.public_id, actor="t", now=now)

    def do_dispute(self, now):
        sale = self.sale()
        dispute_sale(firm=self.pick([sale.seller, sale.buyer]), public_id=sale.public_id, text="x", actor="t", now=now)

    def do_evidence(self, now):
        sale = self.sale()
        add_evidence(firm=sale.buyer, public_id=sale.public_id, text="x", photo=None, actor="t", now=now)

    def do_rule(self, now):
        sale = self.sale()
        ruling = self.chance.choice(["release", "refund", "split", "return"])
        refund = sale.price.total_micros // 3 if ruling == "split" else None
        rule(operator=self.world.operator, public_id=sale.public_id, ruling=ruling, refund_micros=refund, now=now)

    def do_prove_arrival(self, now):
        prove_arrival(operator=self.world.operator, public_id=self.sale().public_id, now=now)

    def do_measure_for_a_sale(self, now):
        sale = self.sale()
        role = self.chance.choice(["buyer", "buyer", "seller", "lab"])
        firm = {"buyer": sale.buyer, "seller": sale.seller, "lab": self.world.lab}[role]
        card = sale.card if self.chance.random() < 0.6 else Card.objects.exclude(pk=sale.card_id)[0]
        with self.world.lock:
            measure(card, now=now, role=role, firm=firm, subject=sale.public_id, node=card.node)
        consider_passports(now=now)

    def do_clocks(self, now):
        notice_arrivals(now=now)
        advance_sales(now=now)
        offer_again(now=now)
        collect_credits(now=now)
        settle_leases(now=now)
        advance_leases(now=now)
        free_cards_of_stopped_leases(now=now)

    do_clocks_again = do_clocks


def let_everything_end(world: World) -> None:
    """Nobody says anything any more; only the clocks go on."""
    for row in CardBid.objects.filter(state="open"):
        cancel_bid(firm=row.firm, public_id=row.public_id, actor="t", now=world.now())
    for row in Order.objects.filter(state="open"):
        request_cancel(firm=row.firm, public_id=row.public_id, actor="t", now=world.now())
    for _ in range(70):
        now = world.now(hours=24)
        run_round(now=now)
        advance_leases(now=now)
        settle_leases(now=now)
        free_cards_of_stopped_leases(now=now)
        advance_sales(now=now)
        if not Sale.objects.filter(state__in=sorted(HOLDS_MONEY)).exists():
            break
    for row in Order.objects.filter(state="open"):
        request_cancel(firm=row.firm, public_id=row.public_id, actor="t", now=world.now())
    run_round(now=world.now())


@pytest.mark.trial
@pytest.mark.timeout(600 if FULL else 180)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_no_card_is_claimed_twice_no_money_is_lost_and_every_sale_ends(
    seed, frozen, settings, tmp_path, tell
):
    settings.MEDIA_ROOT = tmp_path
    settings.COMPLIANCE_RULES_FILE = str(Path(__file__).parents[1] / "card_rules.yaml")
    table_in_force.cache_clear()
    world = World(frozen)
    before = world.money()
    workers = [Worker(world, seed * 1000 + number) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    table_in_force.cache_clear()
    assert not world.broken, world.broken[0]
    assert world.money() == before
    let_everything_end(world)
    check(world, before)
    ends = Counter(Sale.objects.values_list("state", flat=True))
    acts = ", ".join(f"{name.removeprefix('do_')} {count}" for name, count in sorted(world.done.items()))
    tell(f"sales by chance, seed {seed}: {WORKERS} workers, {WORKERS * ACTS} acts ({acts}); ends {dict(ends)}")


def check(world: World, before: int) -> None:
    """What must hold at the end."""
    with connection.cursor() as cursor:
        cursor.execute(OVERLAPS)
        assert cursor.fetchone()[0] == 0
    assert world.money() == before
    call_command("audit_ledger", stdout=io.StringIO())
    assert wrong_escrows() == []
    assert not Account.objects.filter(kind=AccountKind.ESCROW, balance_micros__gt=0).exists()
    for sale in Sale.objects.all():
        assert sale.state in ENDS, (sale.state, sale.end_reason)
        assert sale.closed_at - sale.facts().ship_clock_at <= HELD_AT_MOST + timedelta(days=2)
        moved = Entry.objects.filter(account__ref=sale.public_id).values_list("amount_micros", flat=True)
        assert (len(moved), sum(moved)) == (2, 0), sale.public_id
    for card in Card.objects.all():
        assert card.claims.filter(kind=ClaimKind.SALE, period__upper_inf=True).count() == 0
