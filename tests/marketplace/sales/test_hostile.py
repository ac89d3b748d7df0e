"""What a buyer, a seller or a third firm may try: each of these was possible once, or nearly."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from listings.cards.services import change_card_listing, pause_card_listing
from listings.models import CardListing
from marketplace.book.models import CardTrade
from marketplace.book.selectors import last_sale
from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.compliance.models import ComplianceDecision
from marketplace.compliance.selectors import waiting_decisions
from marketplace.ledger.models import Account, AccountKind
from marketplace.sales.bundles import evidence_bundle
from marketplace.sales.models import Lab, Sale
from marketplace.sales.serializers import sale_json
from marketplace.sales.services import matching
from marketplace.sales.services.arrivals import notice_arrivals
from marketplace.sales.services.bidding import change_bid
from marketplace.sales.services.disputing import dispute_sale, rule
from marketplace.sales.services.matching import match_cards
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.permission import ask_about_ruled_sales, ask_rules_again
from marketplace.sales.services.shipping import ship_sale
from marketplace.sales.services.silences import advance_sales
from marketplace.sales.states import ENDS
from nodes.models import Card, CardOrder, CardTransfer
from nodes.services.claims import take_claims
from nodes.states import ClaimKind
from tests.cards import USD, bid, buy, label, list_for_sale, make_lab, measure, measure_for, receive, ship
from tests.factories import NOON, fund, make_firm, make_person
from tests.hosts import Host
from tests.marketplace.sales.test_rules import clear

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEXT = NOON + 3 * HOUR


@pytest.fixture
def sale(deal):
    return buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON)[0]


@pytest.fixture
def operator():
    return make_person(is_operator=True)


def the(sale):
    return Sale.objects.get(pk=sale.pk)


def wallet(firm):
    return Account.objects.get(firm=firm, kind=AccountKind.WALLET, currency="USD").balance_micros


def moves_to(sale, firm, now):
    """The card's row as the receiver's host makes it when it reports a card that is on its way to its firm."""
    theirs = Host(firm, now, count=0)
    CardTransfer.objects.filter(holder=sale.public_id, to_firm=firm, ended_at=None).update(arrived_at=now)
    Card.objects.filter(pk=sale.card_id).update(firm=firm, node=theirs.node)


# The buyer.


def test_a_buyer_whose_own_host_reports_the_card_can_not_say_that_nothing_came(deal, sale):
    ship(sale, now=NEXT)
    assert notice_arrivals(now=NEXT) == 0
    moves_to(sale, deal.bob, NEXT + DAY)
    assert (notice_arrivals(now=NEXT + DAY), notice_arrivals(now=NEXT + DAY)) == (1, 0)
    assert (the(sale).state, the(sale).received_at) == ("inspecting", NEXT + DAY)
    advance_sales(now=the(sale).deadline_at)
    assert (the(sale).state, the(sale).end_reason) == ("released", "window_over")


def test_a_card_that_turns_up_at_its_buyer_after_the_clock_opened_a_dispute_counts_as_delivered(deal, sale):
    ship(sale, now=NEXT)
    advance_sales(now=the(sale).deadline_at)
    assert the(sale).end_reason == "delivery_unproven"
    later = the(sale).step_at + DAY
    moves_to(sale, deal.bob, later)
    notice_arrivals(now=later)
    advance_sales(now=the(sale).deadline_at)
    assert the(sale).state == "returning"  # and not refunded with the card in the buyer's host


def test_a_lab_whose_host_reports_the_card_has_it(deal):
    lab = make_firm("Lab")
    make_lab(lab)
    (sale,) = buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, route="lab")
    ship(sale, now=NEXT)
    moves_to(sale, lab, NEXT + DAY)
    notice_arrivals(now=NEXT + DAY)
    assert the(sale).lab_received_at == NEXT + DAY


# The seller.


@pytest.mark.parametrize("is_at_the_old_host", [True, False])
def test_a_seller_whose_own_host_reports_the_card_again_can_not_say_that_it_did_not_come_back(
    deal, sale, operator, is_at_the_old_host
):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT + DAY)
    dispute_sale(firm=deal.bob, public_id=sale.public_id, text="loud", actor="t", now=NEXT + DAY)
    rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT + 2 * DAY)
    ship(sale, now=NEXT + 3 * DAY, firm=deal.bob)
    assert notice_arrivals(now=NEXT + 3 * DAY) == 0
    if is_at_the_old_host:
        CardOrder.objects.create(node=sale.card.node, since_at=NEXT + 5 * DAY, uuids=[sale.card.uuid])
    else:
        moves_to(sale, deal.alice, NEXT + 5 * DAY)
    assert notice_arrivals(now=NEXT + 5 * DAY) == 1
    advance_sales(now=the(sale).deadline_at)
    assert (the(sale).state, the(sale).end_reason) == ("refunded", "not_looked_at")


def test_a_card_that_got_worse_since_it_was_listed_is_not_sold_at_the_old_grade(deal):
    listing = list_for_sale(deal.host.cards[:2], now=NOON)
    worse, good = deal.host.cards[:2]
    measure(worse, now=NOON + HOUR, grade="F3")
    assert [each.card for each in buy(deal.bob, listing, now=NOON + HOUR)] == [good]
    with pytest.raises(Conflict) as gone:
        buy(deal.bob, listing, now=NOON + HOUR)
    assert gone.value.code == "offer_gone"
    measure(worse, now=NOON + 2 * HOUR, grade="F0")
    assert buy(deal.bob, listing, now=NOON + 2 * HOUR)[0].function_grade == "F1"


def test_what_was_said_of_a_card_when_it_was_sold_stays_said(deal):
    listing = list_for_sale(deal.host.cards[:2], now=NOON, flags=("rebuilt_pcb", "repasted"), warranty_days=365)
    (sale,) = buy(deal.bob, listing, now=NOON)
    change_card_listing(
        firm=deal.alice, public_id=listing.public_id, changes={"flags": [], "warranty_days": 0}, actor="t", now=NEXT
    )
    shown = sale_json(the(sale), deal.bob)
    assert (shown["flags"], shown["warranty_days"]) == (["rebuilt_pcb", "repasted"], 365)
    ship(the(sale), now=NEXT)
    asked = ComplianceDecision.objects.filter(subject=sale.public_id, stage="shipping").get()
    assert asked.inputs["item"]["as_rebuilt_for_datacentre"] is True


def test_a_seller_can_not_start_the_operators_clock_while_the_card_is_leased_or_without_a_label(deal):
    card = deal.host.cards[0]
    take_claims(cards=[card.pk], start=NOON, end=NOON + 20 * DAY, kind=ClaimKind.LEASE, holder="lse_x")
    (sale,) = buy(deal.bob, list_for_sale([card], now=NOON), now=NOON, ships_to="VN")  # shipping there is held
    with pytest.raises(Conflict) as leased:
        ship(sale, now=NEXT)
    assert (leased.value.code, the(sale).held_at) == ("card_leased", None)
    shipment = replace(label(sale, deal.alice, now=NEXT), label="evd_none")
    with pytest.raises(Conflict) as missing:
        ship_sale(firm=deal.alice, public_id=sale.public_id, shipment=shipment, actor="t", now=NOON + 21 * DAY)
    assert (missing.value.code, the(sale).held_at) == ("label_missing", None)


@pytest.mark.parametrize("ask", [ask_rules_again, ask_about_ruled_sales])
def test_a_seller_who_was_cleared_to_ship_and_does_not_owes_the_credit(deal, ask):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    (sale,) = buy(deal.bob, listing, now=NOON, ships_to="VN")
    with pytest.raises(NotAllowed):
        ship(sale, now=NEXT)
    assert ask(now=NEXT + HOUR) == 0
    clear(NEXT + 2 * HOUR)
    assert ask(now=NEXT + 2 * HOUR) == 1
    assert (the(sale).held_at, the(sale).step_at) == (None, NEXT + 2 * HOUR)
    advance_sales(now=the(sale).deadline_at)
    assert (the(sale).end_reason, the(sale).credit_micros) == ("not_shipped", 150 * USD)


def test_a_held_order_is_asked_again_as_soon_as_somebody_has_ruled(deal):
    (sale,) = buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, ships_to="CN")
    assert ask_about_ruled_sales(now=NOON + HOUR) == 0
    assert the(sale).asked_at == NOON  # nobody has ruled: nothing is asked
    clear(NOON + HOUR)
    assert (ask_about_ruled_sales(now=NOON + HOUR), the(sale).state) == (1, "paid")


def test_more_cards_lose_a_bids_place_in_the_queue_and_fewer_keep_it(deal):
    mine = bid(deal.bob, deal.host.cards[0], now=NOON, limit=100 * USD, count=2)

    def edit(count, at):
        changes = {"count": count}
        return change_bid(firm=deal.bob, public_id=mine.public_id, changes=changes, actor="t", now=at).priced_at

    assert (edit(1, NOON + HOUR), edit(5, NOON + 2 * HOUR)) == (NOON, NOON + 2 * HOUR)


# A third firm.


def test_a_strangers_passport_for_a_sale_hides_nobodys(deal, sale):
    ship(sale, now=NEXT)
    measure(sale.card, now=NEXT + DAY, role="buyer", firm=deal.bob, subject=sale.public_id, node=sale.card.node)
    measure(deal.host.cards[1], now=NEXT + DAY, role="buyer", firm=make_firm("Eve"), subject=sale.public_id,
            node=sale.card.node)  # fmt: skip
    assert consider_passports(now=NEXT + DAY) == 1
    assert (the(sale).state, the(sale).end_reason) == ("released", "same_card")


def test_passports_that_say_nothing_now_do_not_keep_others_waiting(deal):
    idle, ready = buy(deal.bob, list_for_sale(deal.host.cards[:2], now=NOON), now=NOON, count=2)
    measure(idle.card, now=NOON, subject=idle.public_id)  # the seller's, of a card that is not on its way back
    ship(ready, now=NEXT)
    measure(ready.card, now=NEXT, role="buyer", firm=deal.bob, subject=ready.public_id, node=ready.card.node)
    assert consider_passports(now=NEXT, limit=1) == 1
    assert the(ready).state == "released"


def test_old_bids_do_not_keep_better_ones_out_of_the_book(deal, monkeypatch):
    monkeypatch.setattr(matching, "BIDS_PER_ROUND_MAX", 2)
    eve = make_firm("Eve")
    fund(eve, 5000 * USD)
    for _ in range(2):
        bid(eve, deal.host.cards[0], now=NOON, limit=USD)
    for _ in range(2):
        bid(eve, deal.host.cards[0], now=NOON, limit=1060 * USD)
    best = bid(deal.bob, deal.host.cards[0], now=NOON, limit=1200 * USD)
    list_for_sale(deal.host.cards[:1], now=NEXT)
    assert match_cards(now=NEXT) == 1
    assert Sale.objects.get().bid == best


@pytest.mark.parametrize("takes", [False, True])
def test_who_comes_between_a_new_ask_and_the_next_tick_does_not_jump_the_queue(deal, takes):
    first = bid(deal.bob, deal.host.cards[0], now=NOON, limit=1500 * USD)
    listing = list_for_sale(deal.host.cards[:1], now=NEXT)
    eve = make_firm("Eve")
    fund(eve, 5000 * USD)
    if takes:
        with pytest.raises(Conflict):
            buy(eve, listing, now=NEXT)
    else:
        bid(eve, deal.host.cards[0], now=NEXT, limit=1100 * USD)
    assert Sale.objects.get().bid == first


# The lab.


def test_who_wants_a_lab_never_gets_the_card_without_one(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    make_lab(deal.alice)  # the only lab is the seller
    with pytest.raises(Invalid) as none:
        buy(deal.bob, listing, now=NOON, route="lab")
    assert none.value.code == "no_lab"
    waiting = bid(deal.bob, deal.host.cards[0], now=NOON, route="lab")
    assert (match_cards(now=NEXT), Sale.objects.count()) == (0, 0)
    Lab.objects.all().delete()
    make_lab(make_firm("Lab"))
    assert match_cards(now=NEXT) == 1
    assert (waiting.sales.get().route, waiting.sales.get().lab.firm.name) == ("lab", "Lab")


def test_the_seller_of_a_card_that_goes_through_a_lab_is_told_the_labs_address_alone(deal):
    lab = make_firm("Lab")
    make_lab(lab)
    (sale,) = buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, route="lab")
    shown = {firm.name: sale_json(the(sale), firm)["address"] for firm in (deal.alice, deal.bob, lab)}
    assert shown == {
        "Alice": "2 rue du Labo", "Bob": "1 rue de la Carte, Paris", "Lab": "1 rue de la Carte, Paris"
    }  # fmt: skip


def test_a_modification_that_only_the_flag_or_the_passport_tells_goes_through_the_lab_too(deal):
    make_lab(make_firm("Lab"))
    one, two = deal.host.cards[:2]
    flagged = list_for_sale([one], now=NOON, flags=("memory_mod",))
    assert buy(deal.bob, flagged, now=NOON)[0].route == "lab"
    measure(two, now=NOON, grade="F2", findings=[{"code": "memory_modified", "severity": "warning"}])
    assert CardTrade.objects.get().is_modified


# The clocks and the tape.


def test_one_sale_that_can_not_end_does_not_stop_the_others_and_its_money_still_moves(deal):
    one, two = buy(deal.bob, list_for_sale(deal.host.cards[:2], now=NOON), now=NOON, count=2)
    for each in (one, two):
        ship(each, now=NEXT)
    advance_sales(now=the(one).deadline_at)
    CardTransfer.objects.filter(holder=one.public_id).update(holder="sale_other")  # as no code of ours leaves it
    Card.objects.filter(pk=one.card_id).update(firm=make_firm())
    advance_sales(now=the(one).deadline_at)
    assert {the(one).state, the(two).state} == {"refunded"}
    assert wallet(deal.bob) == 10_000 * USD


def test_the_price_of_a_split_sale_is_not_the_last_price(deal, sale, operator):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT)
    dispute_sale(firm=deal.bob, public_id=sale.public_id, text="x", actor="t", now=NEXT)
    rule(operator=operator, public_id=sale.public_id, ruling="split", refund_micros=900 * USD, now=NEXT)
    assert last_sale("h100-sxm5-80gb", memory_mib=sale.listing.memory_mib, currency="USD") is None
    assert CardTrade.objects.get().undone_at == NEXT


def test_every_passport_that_a_side_measured_for_a_sale_is_in_the_bundle(deal, sale):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT)
    dispute_sale(firm=deal.bob, public_id=sale.public_id, text="x", actor="t", now=NEXT)
    assert measure_for(sale, now=NEXT, card=deal.host.cards[1]).state == "disputed"
    measure(sale.card, now=NEXT, role="buyer", firm=make_firm("Eve"), subject=sale.public_id, node=sale.card.node)
    assert [each["role"] for each in evidence_bundle(the(sale))["passports"]] == ["seller", "buyer"]
    assert the(sale).differences[0]["code"] == "uuid"


def test_a_card_that_its_buyer_measured_before_it_was_shipped_is_asked_of_the_rules_as_well(deal):
    listing = list_for_sale(deal.host.cards[:2], now=NOON)
    (held,) = buy(deal.bob, listing, now=NOON, ships_to="VN")
    assert measure_for(held, now=NEXT).state == "paid"
    assert the(held).held_at == NEXT
    (fine,) = buy(deal.bob, listing, now=NOON)
    assert measure_for(fine, now=NEXT).state == "released"
    assert ComplianceDecision.objects.filter(subject=fine.public_id, stage="shipping").exists()


# Two at once.


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["price", "pause"])
def test_a_listing_that_changes_while_it_is_being_matched_is_not_sold_as_it_was(deal, change):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    resting = bid(deal.bob, deal.host.cards[0], now=NOON, limit=100 * USD)
    type(resting).objects.update(limit_micros=100 * USD)
    change_bid(firm=deal.bob, public_id=resting.public_id, changes={"limit_micros": 2000 * USD}, actor="t", now=NOON)

    def match():
        match_cards(now=NEXT)
        connections.close_all()

    worker = threading.Thread(target=match, daemon=True)
    common = {"firm": deal.alice, "public_id": listing.public_id, "actor": "t", "now": NEXT}
    with transaction.atomic():
        CardListing.objects.select_for_update(no_key=True).get(pk=listing.pk)
        worker.start()
        while not waits_for_a_lock():
            time.sleep(0.01)
        if change == "price":
            change_card_listing(changes={"ask_micros": 1900 * USD}, **common)
        else:
            pause_card_listing(**common)
    worker.join()
    assert not Sale.objects.filter(item_micros=1000 * USD).exists()
    assert not Sale.objects.exists() or change == "price"
    assert not Sale.objects.filter(state__in=ENDS).exists()


@pytest.mark.django_db(transaction=True)
def test_who_leases_the_card_in_the_same_moment_is_first_and_no_hold_is_left_to_rule(deal):
    resting = bid(deal.bob, deal.host.cards[0], now=NOON, limit=100 * USD, ships_to="CN")  # the rules hold that
    list_for_sale(deal.host.cards[:1], now=NOON)
    change_bid(firm=deal.bob, public_id=resting.public_id, changes={"limit_micros": 2000 * USD}, actor="t", now=NOON)

    def match():
        match_cards(now=NEXT)
        connections.close_all()

    worker = threading.Thread(target=match, daemon=True)
    with transaction.atomic():
        card, end = deal.host.cards[0].pk, NEXT + 5 * DAY
        take_claims(cards=[card], start=NOON, end=end, kind=ClaimKind.LEASE, holder="lse_x")
        worker.start()
        while not waits_for_a_lock():
            time.sleep(0.01)
    worker.join()
    assert not Sale.objects.exists()
    assert ComplianceDecision.objects.filter(subject__startswith="sale_", outcome="hold").exists()
    assert not waiting_decisions()
    assert match_cards(now=NEXT) == 1  # it is sold from the lease's end on
    assert [each.subject for each in waiting_decisions()] == [Sale.objects.get().public_id]
