"""A sale's life, by what its parties say and by what they do not say."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import call_command

from marketplace.book.models import CardTrade
from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound
from marketplace.events.models import Event
from marketplace.ledger.models import Account, AccountKind, Entry
from marketplace.sales.models import Dispute, Sale
from marketplace.sales.selectors import completed_sales
from marketplace.sales.services.disputing import add_evidence, dispute_sale, rule
from marketplace.sales.services.measuring import consider_passports
from marketplace.sales.services.shipping import Shipment, accept_sale, prove_arrival, ship_sale
from marketplace.sales.services.silences import advance_sales, collect_credits
from nodes.models import Card, CardTransfer, Claim
from nodes.services.claims import take_claims
from nodes.states import ClaimKind
from tests.cards import USD, body_of, buy, label, list_for_sale, make_lab, measure, measure_for, photo, receive, ship
from tests.factories import NOON, fund, make_firm, make_person
from tests.hosts import Host
from tests.nodes.passports.bodies import changed

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NEXT = NOON + timedelta(hours=3)
PRICE, SHIPPING = 1000 * USD, 50 * USD


@pytest.fixture
def sale(deal):
    return buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON)[0]


@pytest.fixture
def operator():
    return make_person(is_operator=True)


def balances(firm):
    found = Account.objects.filter(firm=firm).exclude(kind=AccountKind.ESCROW)
    return dict(found.values_list("kind", "balance_micros"))


def fees():
    return sum(Entry.objects.filter(account__kind=AccountKind.PLATFORM_FEE).values_list("amount_micros", flat=True))


def the(sale):
    return Sale.objects.get(pk=sale.pk)


def after(sale, moment=None):
    """The clock's work at the sale's deadline."""
    advance_sales(now=moment or the(sale).deadline_at)
    return the(sale)


def is_clean():
    call_command("audit_ledger", stdout=io.StringIO())
    assert not Account.objects.filter(kind=AccountKind.ESCROW, balance_micros__gt=0).exists()
    assert not Claim.objects.filter(kind=ClaimKind.SALE, period__upper_inf=True).exists()
    return True


def test_the_same_card_measured_by_its_buyer_releases_the_money_at_once(deal, sale):
    ship(sale, now=NEXT)
    sale = measure_for(sale, now=NEXT + DAY)
    assert (sale.state, sale.end_reason, sale.deadline_at) == ("released", "same_card", None)
    assert balances(deal.alice) == {"earnings": PRICE * 95 // 100 + SHIPPING}
    assert balances(deal.bob)["wallet"] == 10_000 * USD - PRICE - SHIPPING
    assert fees() == PRICE * 5 // 100
    assert CardTrade.objects.get().delivered_at == NEXT + DAY
    types = (
        Event.objects.filter(firm_id=deal.bob.pk, subject=sale.public_id).order_by("pk").values_list("type", flat=True)
    )
    assert [each.removeprefix("sale.") for each in types] == [
        "agreed", "paid", "evidence", "shipped", "received", "inspecting", "released",
    ]  # fmt: skip
    (done,) = completed_sales(model_slug="h100-sxm5-80gb", since=NOON)
    assert (done.price_micros, done.region, done.at) == (PRICE, "eu", NEXT + DAY)
    assert is_clean()


def test_another_card_opens_a_dispute_and_moves_no_money(deal, sale):
    ship(sale, now=NEXT)
    swapped = Host(deal.bob, NOON, count=1).cards[0]
    sale = measure_for(sale, now=NEXT + DAY, card=swapped)
    assert (sale.state, sale.end_reason, sale.closed_at) == ("disputed", "other_card", None)
    assert sale.differences[0]["code"] == "uuid"
    assert balances(deal.alice) == {}
    assert Dispute.objects.get().opened_by is None


def unsure(sale, role, firm, now):
    """The same card on a host without cuBLAS: nothing differs, and not every test ran."""
    body = changed(body_of(sale.card, role), "tests.gemm", {"skipped": "no cuBLAS on this host"})
    measure(sale.card, now=now, role=role, firm=firm, subject=sale.public_id, node=sale.card.node, body=body)
    consider_passports(now=now)
    return the(sale)


def test_a_measurement_that_is_not_complete_accuses_nobody_and_releases_nothing(deal, sale):
    assert unsure(sale, "buyer", deal.bob, NEXT).state == "paid"
    ship(sale, now=NEXT)
    sale = unsure(sale, "buyer", deal.bob, NEXT + DAY)
    assert (sale.state, sale.received_at, [each["code"] for each in sale.differences]) == (
        "inspecting", NEXT + DAY, ["not_measured"],
    )  # fmt: skip
    assert not Dispute.objects.exists() and balances(deal.alice) == {}
    assert measure_for(sale, now=NEXT + 2 * DAY).state == "released"


def found(sale, severity, now, **said):
    """The same numbers on another host, where something is found that the seller's host did not find."""
    findings = [{"code": "thermal", "severity": severity}, {"code": "virtualised", "severity": "disqualifying"}]
    values = {"role": "buyer", "firm": sale.buyer, "subject": sale.public_id, "node": sale.card.node} | said
    measure(sale.card, now=now, findings=findings, **values)
    consider_passports(now=now)
    return the(sale)


def test_an_undisclosed_limit_releases_nothing_and_the_buyer_decides(deal, sale):
    """The seller's host hid the heat, or the buyer's has no air: nobody knows."""
    ship(sale, now=NEXT)
    sale = found(sale, "limit", NEXT + DAY)
    assert (sale.state, [each["code"] for each in sale.differences]) == ("inspecting", ["found_limits"])
    assert sale.differences[0]["buyer"] == "thermal" and balances(deal.alice) == {}
    sale = found(sale, "fault", NEXT + DAY)
    assert (sale.state, sale.differences[0]["code"]) == ("disputed", "found_faults")


def test_a_limit_that_was_disclosed_is_none_and_a_labs_goes_to_an_operator(deal):
    limit = [{"code": "thermal", "severity": "limit"}]
    lab = make_firm("Lab")
    make_lab(lab)
    for card, route, findings, state in zip(
        deal.host.cards, ("", "lab", ""), (limit, [], []), ("released", "disputed", "released"), strict=True
    ):
        listing = list_for_sale([card], now=NOON)
        measure(card, now=NOON, findings=findings)
        (sale,) = buy(deal.bob, listing, now=NOON, route=route)
        ship(sale, now=NEXT)
        if state == "released":
            noted = {"findings": limit if findings else [{"code": "vbios_unusual", "severity": "note"}]}
            measure(card, now=NEXT, role="buyer", firm=deal.bob, subject=sale.public_id, node=card.node, **noted)
            consider_passports(now=NEXT)
        else:
            found(sale, "limit", NEXT, role="lab", firm=lab)
        assert the(sale).state == state


def test_a_lab_and_a_return_that_are_not_measured_in_full_wait(deal, sale, operator):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT + DAY)
    dispute_sale(firm=deal.bob, public_id=sale.public_id, text="noisy", actor="t", now=NEXT + DAY)
    rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT + 2 * DAY)
    ship(sale, now=NEXT + 3 * DAY, firm=deal.bob)
    sale = unsure(sale, "seller", deal.alice, NEXT + 4 * DAY)
    assert (sale.state, sale.came_back_at) == ("returning", NEXT + 4 * DAY)
    assert measure_for(sale, now=NEXT + 5 * DAY, role="seller").state == "refunded"
    lab = make_firm("Lab")
    make_lab(lab)
    (other,) = buy(deal.bob, list_for_sale(deal.host.cards[1:2], now=NOON), now=NOON, route="lab")
    ship(other, now=NEXT)
    other = unsure(other, "lab", lab, NEXT + DAY)
    assert (other.state, other.lab_received_at, other.lab_passed_at) == ("shipped", NEXT + DAY, None)
    assert measure_for(other, now=NEXT + DAY, role="lab", firm=lab).lab_passed_at


def test_who_measures_every_card_of_his_host_for_a_sale_accuses_nobody(deal, sale):
    ship(sale, now=NEXT)
    measure(sale.card, now=NEXT + DAY, role="buyer", firm=deal.bob, subject=sale.public_id, node=sale.card.node)
    assert measure_for(sale, now=NEXT + DAY, card=Host(deal.bob, NOON, count=1).cards[0]).state == "released"


def test_a_swapped_card_goes_back_is_measured_by_the_seller_and_the_buyer_is_refunded(deal, sale, operator):
    ship(sale, now=NEXT)
    measure_for(sale, now=NEXT + DAY, card=Host(deal.bob, NOON, count=1).cards[0])
    rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT + 2 * DAY)
    ship(sale, now=NEXT + 3 * DAY, firm=deal.bob)
    sale = measure_for(sale, now=NEXT + 5 * DAY, role="seller")
    assert (sale.state, sale.end_reason) == ("refunded", "came_back")
    assert balances(deal.bob)["wallet"] == 10_000 * USD
    assert balances(deal.alice).get("earnings", 0) == fees() == 0
    assert CardTrade.objects.get().undone_at
    assert is_clean()


def test_what_came_back_is_another_card_so_it_is_disputed_again(deal, sale, operator):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT + DAY)
    dispute_sale(firm=deal.bob, public_id=sale.public_id, text="noisy", actor="t", now=NEXT + DAY)
    rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT + 2 * DAY)
    ship(sale, now=NEXT + 3 * DAY, firm=deal.bob)
    sale = measure_for(sale, now=NEXT + 4 * DAY, role="seller", card=deal.host.cards[2])
    assert sale.state == "disputed"
    rule(operator=operator, public_id=sale.public_id, ruling="release", now=NEXT + 5 * DAY)
    assert (the(sale).state, is_clean()) == ("released", True)


def test_a_seller_who_does_not_ship_owes_a_credit_that_is_taken_as_soon_as_it_can_be(deal, sale):
    fund(deal.alice, 40 * USD)
    sale = after(sale)
    assert (sale.state, sale.end_reason, sale.credit_micros) == ("cancelled", "not_shipped", 150 * USD)
    assert balances(deal.bob)["wallet"] == (10_000 + 40) * USD
    assert balances(deal.alice)["wallet"] == 0
    other = list_for_sale(deal.host.cards[1:2], now=NOON)
    with pytest.raises(Conflict):  # who owes a credit sells nothing
        buy(deal.bob, other, now=NOON)
    fund(deal.alice, 500 * USD)
    assert (collect_credits(now=NEXT), collect_credits(now=NEXT)) == (1, 0)
    assert balances(deal.bob)["wallet"] == (10_000 + 150) * USD
    assert buy(deal.bob, other, now=NOON)


def test_sellers_who_have_nothing_keep_nobody_elses_credit_waiting(deal, sale):
    carol = make_firm("Carol")
    theirs = buy(deal.bob, list_for_sale(Host(carol, NOON, count=1).cards, now=NOON), now=NOON)[0]
    after(sale)
    fund(carol, 500 * USD)
    assert collect_credits(now=NEXT, limit=1) == 1
    assert (the(sale).credit_paid_micros, the(theirs).credit_paid_micros) == (0, 150 * USD)


def test_a_seller_says_that_what_came_back_is_not_it_and_nobody_says_that_it_was_measured(deal, sale, operator):
    disputed(deal, sale)
    rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT)
    ship(sale, now=NEXT, firm=deal.bob)
    receive(sale, now=NEXT, firm=deal.alice)
    dispute_sale(firm=deal.alice, public_id=sale.public_id, text="broken fan", actor="t", now=NEXT)
    assert (the(sale).end_reason, Dispute.objects.order_by("pk").last().reason) == ("seller_disputes",) * 2


def test_a_card_of_a_cancelled_sale_can_be_listed_and_rented_again(deal, sale):
    fund(deal.alice, 1000 * USD)
    after(sale)
    assert is_clean()
    take_claims(cards=[sale.card_id], start=NOON + 9 * DAY, end=NOON + 10 * DAY, kind=ClaimKind.LEASE, holder="lse_x")
    assert buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON + 9 * DAY), now=NOON + 9 * DAY)


def test_a_carriers_number_without_proof_never_releases(deal, sale):
    ship(sale, now=NEXT)
    sale = after(sale)
    assert (sale.state, sale.end_reason) == ("disputed", "delivery_unproven")
    sale = after(sale)
    assert (sale.state, balances(deal.bob)["wallet"]) == ("refunded", 10_000 * USD)
    assert is_clean()


def test_a_silent_buyer_whose_parcel_an_operator_found_delivered_pays(deal, sale, operator):
    ship(sale, now=NEXT)
    with pytest.raises(NotAllowed):
        prove_arrival(operator=make_person(deal.alice), public_id=sale.public_id, now=NEXT + DAY)
    prove_arrival(operator=operator, public_id=sale.public_id, now=NEXT + DAY)
    assert the(sale).deadline_at == NEXT + 15 * DAY  # across a border
    sale = after(sale)
    assert (sale.state, sale.end_reason, is_clean()) == ("released", "window_over", True)


def test_a_leased_card_can_not_be_shipped_and_its_clock_starts_when_the_lease_ends(deal):
    card = deal.host.cards[0]
    take_claims(cards=[card.pk], start=NOON, end=NOON + 4 * DAY, kind=ClaimKind.LEASE, holder="lse_x")
    (sale,) = buy(deal.bob, list_for_sale([card], now=NOON), now=NOON)
    with pytest.raises(Conflict) as leased:
        ship(sale, now=NEXT)
    assert leased.value.code == "card_leased"
    assert (the(sale).state, the(sale).deadline_at) == ("paid", NOON + 8 * DAY)  # Friday and two working days
    assert ship(sale, now=NOON + 4 * DAY).state == "shipped"


def test_shipping_needs_a_photo_of_the_label_and_a_sale_of_ones_own(deal, sale):
    nothing = Shipment("DHL", "1", "evd_x")
    with pytest.raises(Conflict) as missing:
        ship_sale(firm=deal.alice, public_id=sale.public_id, shipment=nothing, actor="t", now=NEXT)
    assert missing.value.code == "label_missing"
    with pytest.raises(NotFound):
        ship_sale(firm=make_firm(), public_id=sale.public_id, shipment=nothing, actor="t", now=NEXT)
    with pytest.raises(NotFound):
        ship_sale(firm=deal.alice, public_id="sale_none", shipment=nothing, actor="t", now=NEXT)
    with pytest.raises(Conflict):
        ship_sale(
            firm=deal.bob, public_id=sale.public_id, shipment=label(sale, deal.bob, now=NEXT), actor="t", now=NEXT
        )


def test_nobody_says_what_is_not_his_to_say(deal, sale):
    with pytest.raises(Conflict):
        receive(sale, now=NEXT)
    ship(sale, now=NEXT)
    for firm in (deal.alice,):
        with pytest.raises(Conflict):
            receive(sale, now=NEXT, firm=firm)
        with pytest.raises(Conflict):
            accept_sale(firm=firm, public_id=sale.public_id, actor="t", now=NEXT)
        with pytest.raises(Conflict):
            dispute_sale(firm=firm, public_id=sale.public_id, text="", actor="t", now=NEXT)
    assert the(sale).state == "shipped"


def test_a_buyer_who_is_content_releases_at_once(deal, sale):
    ship(sale, now=NEXT)
    accept_sale(firm=deal.bob, public_id=sale.public_id, actor="t", now=NEXT + DAY)
    assert (the(sale).state, is_clean()) == ("released", True)
    with pytest.raises(Conflict):
        accept_sale(firm=deal.bob, public_id=sale.public_id, actor="t", now=NEXT + DAY)


def disputed(deal, sale):
    ship(sale, now=NEXT)
    receive(sale, now=NEXT + DAY)
    return dispute_sale(firm=deal.bob, public_id=sale.public_id, text="it is loud", actor="t", now=NEXT + DAY)


@pytest.mark.parametrize(
    ("ruling", "refund", "state", "bob", "alice"),
    [
        ("release", None, "released", 0, 1000 * USD),
        ("refund", None, "refunded", 1050 * USD, 0),
        ("split", 210 * USD, "split", 210 * USD, 800 * USD),
    ],
)
def test_an_operators_ruling_moves_exactly_what_was_held(deal, sale, operator, ruling, refund, state, bob, alice):
    disputed(deal, sale)
    rule(
        operator=operator, public_id=sale.public_id, ruling=ruling, refund_micros=refund, text="so", now=NEXT + 2 * DAY
    )
    assert the(sale).state == state
    assert balances(deal.bob)["wallet"] == 10_000 * USD - 1050 * USD + bob
    assert balances(deal.alice).get("earnings", 0) == alice
    dispute = Dispute.objects.get()
    assert (dispute.ruling, dispute.ruled_by, dispute.ruling_text) == (ruling, operator, "so")
    assert is_clean()
    for again in (lambda: rule(operator=operator, public_id=sale.public_id, ruling="refund", now=NEXT + 3 * DAY),):
        with pytest.raises(Conflict):
            again()
    with pytest.raises(Conflict) as over:
        add_evidence(firm=deal.bob, public_id=sale.public_id, text="but", photo=None, actor="t", now=NEXT + 3 * DAY)
    assert over.value.code == "sale_over"


def test_a_ruling_is_an_operators_and_a_split_is_less_than_all(deal, sale, operator):
    disputed(deal, sale)
    with pytest.raises(NotAllowed):
        rule(operator=make_person(deal.bob), public_id=sale.public_id, ruling="refund", now=NEXT)
    for refund in (0, 1050 * USD, -1, None):
        with pytest.raises(Invalid):
            rule(operator=operator, public_id=sale.public_id, ruling="split", refund_micros=refund, now=NEXT)
    assert the(sale).state == "disputed"


def test_a_split_ends_at_whole_coins_and_the_rest_of_a_coin_is_the_buyers(deal, operator):
    listing = list_for_sale(deal.host.cards[:1], now=NOON, ask=999_990_000)
    sale = disputed(deal, buy(deal.bob, listing, now=NOON)[0])
    with pytest.raises(Invalid):  # nothing would be left for the seller
        rule(operator=operator, public_id=sale.public_id, ruling="split", refund_micros=1049_985_000, now=NEXT)
    rule(operator=operator, public_id=sale.public_id, ruling="split", refund_micros=240_642_173, now=NEXT)
    assert {kind: micros % 10_000 for kind, micros in balances(deal.alice).items()} == {"earnings": 0}
    assert fees() % 10_000 == 0
    assert the(sale).refunded_micros == Dispute.objects.get().refund_micros == 240_650_000
    assert balances(deal.bob)["wallet"] == 10_000 * USD - 1049_990_000 + 240_650_000
    assert balances(deal.alice)["earnings"] + fees() + 240_650_000 == 1049_990_000
    assert is_clean()


def test_a_silent_operator_has_it_sent_back_and_a_buyer_who_does_not_pays(deal, sale):
    disputed(deal, sale)
    assert (after(sale).state, after(sale).state, is_clean()) == ("returning", "released", True)


def test_a_return_that_nobody_looks_at_is_refunded(deal, sale):
    disputed(deal, sale)
    after(sale)
    ship(sale, now=the(sale).deadline_at - DAY, firm=deal.bob)
    receive(sale, now=the(sale).deadline_at - DAY, firm=deal.alice)
    assert (after(sale).state, is_clean()) == ("refunded", True)


def test_no_money_is_held_for_more_than_sixty_days(deal, sale, operator):
    disputed(deal, sale)
    end = NOON + 60 * DAY
    after(sale)
    ship(sale, now=the(sale).deadline_at - DAY, firm=deal.bob)
    while the(sale).closed_at is None:
        assert the(sale).deadline_at <= end
        after(sale)
    assert is_clean()


def test_modified_memory_goes_through_a_lab_which_passes_it_on(deal):
    lab = make_firm("Lab")
    make_lab(lab)
    Card.objects.filter(pk=deal.host.cards[0].pk).update(is_modified=True)
    card = Card.objects.get(pk=deal.host.cards[0].pk)
    (sale,) = buy(deal.bob, list_for_sale([card], now=NOON, flags=("memory_mod",)), now=NOON)
    assert (sale.route, sale.lab.firm) == ("lab", lab)
    ship(sale, now=NEXT)
    assert CardTransfer.objects.get(ended_at=None).to_firm == lab
    with pytest.raises(Conflict):
        receive(sale, now=NEXT)
    receive(sale, now=NEXT + DAY, firm=lab)
    sale = measure_for(sale, now=NEXT + DAY, role="lab", firm=lab)
    assert (sale.state, sale.lab_passed_at) == ("shipped", NEXT + DAY)
    ship(sale, now=NEXT + 2 * DAY, firm=lab)
    assert CardTransfer.objects.get(ended_at=None).to_firm == deal.bob
    assert measure_for(sale, now=NEXT + 4 * DAY).state == "released"
    assert is_clean()


def test_a_lab_that_finds_another_card_opens_the_dispute(deal, operator):
    lab = make_firm("Lab")
    make_lab(lab)
    (sale,) = buy(deal.bob, list_for_sale(deal.host.cards[:1], now=NOON), now=NOON, route="lab")
    ship(sale, now=NEXT)
    sale = measure_for(sale, now=NEXT + DAY, role="lab", firm=lab, card=deal.host.cards[2])
    assert (sale.state, sale.end_reason) == ("disputed", "other_card")
    with pytest.raises(Conflict):
        rule(operator=operator, public_id=sale.public_id, ruling="return", now=NEXT + 2 * DAY)
    assert (after(sale).state, is_clean()) == ("refunded", True)


def test_without_a_lab_nobody_can_ask_for_one(deal):
    listing = list_for_sale(deal.host.cards[:1], now=NOON)
    with pytest.raises(Invalid) as none:
        buy(deal.bob, listing, now=NOON, route="lab")
    assert none.value.code == "no_lab"


def test_a_passport_of_somebody_else_says_nothing(deal, sale):
    ship(sale, now=NEXT)
    measure_for(sale, now=NEXT + DAY, firm=make_firm())
    measure_for(sale, now=NEXT + DAY, firm=deal.alice)
    assert the(sale).state == "shipped"


def test_the_buyer_may_measure_before_the_seller_says_that_it_is_shipped(deal, sale):
    assert measure_for(sale, now=NEXT).state == "released"
    assert is_clean()


def test_evidence_is_text_or_photo_and_an_svg_is_neither(deal, sale):
    def add(**said):
        values = {"text": "", "photo": None} | said
        return add_evidence(firm=deal.bob, public_id=sale.public_id, actor="t", now=NEXT, **values)

    assert add(text="hello").about == "to_ship"
    assert add(photo=photo()).sha256
    with pytest.raises(Invalid):
        add()
    with pytest.raises(Invalid):
        add(photo=b"<svg/>")


def test_a_buyer_can_not_sell_on_before_it_is_his_and_can_then(deal, sale):
    ship(sale, now=NEXT)
    theirs = Host(deal.bob, NOON, count=0)
    Card.objects.filter(pk=sale.card_id).update(firm=deal.bob, node=theirs.node)  # as its buyer's host reports it
    card = Card.objects.get(pk=sale.card_id)
    with pytest.raises(Conflict) as sold:
        list_for_sale([card], now=NEXT)
    assert sold.value.code == "card_sold"
    measure_for(sale, now=NEXT + DAY)
    listing = list_for_sale([card], now=NEXT + DAY)
    fund(deal.alice, 5000 * USD)
    (again,) = buy(deal.alice, listing, now=NEXT + DAY)
    assert ship(again, now=NEXT + DAY).state == "shipped"
