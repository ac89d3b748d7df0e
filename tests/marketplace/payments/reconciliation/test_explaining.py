"""What operators say about differences, and the platform's payouts on the bank's statement."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.models import Difference, GatewayTransaction, ManualBooking, PlatformPayout, StatementLine
from marketplace.payments.reconciliation.services.explaining import explain
from marketplace.payments.wire.services.booking import agree, decide_line, refuse
from marketplace.payments.wire.services.importing import import_statement
from tests.factories import make_firm, make_person
from tests.marketplace.payments.reconciliation.conftest import DOLLAR, at_stripe, on_its_way, suspense
from tests.marketplace.payments.reconciliation.test_runs import lose_a_payment
from tests.marketplace.payments.wire.statements import OURS, Paid, camt

pytestmark = pytest.mark.django_db(transaction=True)


def wallet(firm):
    return balance_micros(firm=firm, kind=AccountKind.WALLET, currency="USD")


@pytest.fixture
def lost(here, night):
    """A payment of 40 dollars that nothing told us of; suspense has what came of it."""
    deposit = lose_a_payment(here, night)
    night.run()
    return deposit


def say(night, action="off_own", firm_id="", reason="counted twice", key="k", who=None):
    difference = Difference.objects.get(state="open")
    return explain(
        operator=who or night.operator, difference_id=difference.public_id, action=action, firm_id=firm_id,
        reason=reason, key=key, now=night.here.now,
    )  # fmt: skip


def test_its_money_goes_where_an_operator_says_and_it_stays_closed(here, night, lost):
    net = suspense()
    said = say(night, "off_firm", lost.firm.public_id)
    assert (said.state, said.explanation, said.closed_by) == ("explained", "counted twice", night.operator)
    assert (wallet(lost.firm), suspense()) == (net, 0)
    event = Event.objects.get(type="difference.explained")
    assert (event.actor, event.data["why"]) == (night.operator.public_id, "counted twice")
    night.run()
    assert night.open() == []
    assert say_again(night, said).state == "explained"
    assert wallet(lost.firm) == net


def say_again(night, difference):
    return explain(
        operator=night.operator, difference_id=difference.public_id, action="off_firm",
        firm_id=ManualBooking.objects.get().firm.public_id, reason="counted twice", key="k", now=night.here.now,
    )  # fmt: skip


def test_what_was_booked_by_hand_and_then_by_itself_is_a_difference_again(here, night, lost):
    net = suspense()
    say(night, "off_firm", lost.firm.public_id)
    here.hear()
    assert wallet(lost.firm) == net + 40 * DOLLAR
    night.run()
    ((kind, _, off),) = night.open()
    assert (kind, off) == ("overtaken", -net)
    assert (at_stripe(), suspense()) == (net, -net)
    say(night, "off_firm", lost.firm.public_id, "taken back again", key="k2")
    assert (wallet(lost.firm), suspense()) == (40 * DOLLAR, 0)
    assert night.run().found_count == 0
    assert at_stripe() == net


@pytest.mark.parametrize(
    ("action", "kind", "ref"), [("off_cost", AccountKind.GATEWAY_FEE, "stripe"), ("off_own", AccountKind.OWN, "")]
)
def test_it_can_be_a_cost_or_the_platforms_own(here, night, lost, action, kind, ref):
    net, before = suspense(), balance_micros(firm=None, kind=kind, currency="USD", ref=ref)
    say(night, action)
    assert balance_micros(firm=None, kind=kind, currency="USD", ref=ref) - before == net
    assert night.run().found_count == 0


def test_much_money_takes_two_operators(here, night, lost, settings):
    settings.TWO_PERSON_LIMITS = {"USD": 10 * DOLLAR}
    net = suspense()
    assert say(night).state == "open"
    assert suspense() == net
    booking = ManualBooking.objects.get()
    with pytest.raises(NotAllowed):
        agree(operator=night.operator, booking_id=booking.public_id, now=here.now)
    with pytest.raises(Conflict):
        say(night, key="other")
    refuse(operator=night.operator, booking_id=booking.public_id, now=here.now)
    say(night, key="third")
    other = make_person(is_operator=True)
    agree(operator=other, booking_id=ManualBooking.objects.get(state="asked").public_id, now=here.now)
    assert Difference.objects.get().closed_by == other
    assert suspense() == 0


def test_what_has_gone_meanwhile_is_not_booked_by_the_second_operator(here, night, lost, settings):
    settings.TWO_PERSON_LIMITS = {}
    say(night)
    here.hear()
    night.run()
    with pytest.raises(Conflict):
        agree(operator=make_person(is_operator=True), booking_id=ManualBooking.objects.get().public_id, now=here.now)
    assert ManualBooking.objects.get().state == "asked"
    assert suspense() == 0


def test_what_is_about_another_amount_meanwhile_is_not_booked_either(here, night, lost, settings):
    settings.TWO_PERSON_LIMITS = {}
    say(night)
    other = GatewayTransaction.objects.get()
    other.pk, other.amount_micros, other.net_micros = None, other.amount_micros - DOLLAR, other.net_micros - DOLLAR
    GatewayTransaction.objects.bulk_create([other])
    night.run()
    with pytest.raises(Conflict):
        agree(operator=make_person(is_operator=True), booking_id=ManualBooking.objects.get().public_id, now=here.now)
    assert ManualBooking.objects.get().state == "asked"
    assert Difference.objects.get(kind="not_booked").state == "open"


def test_who_and_what_is_refused(here, night, lost):
    with pytest.raises(NotAllowed):
        say(night, who=make_person(make_firm()))
    with pytest.raises(NotAllowed):
        own = make_person(lost.firm, is_operator=True)
        say(night, "off_firm", lost.firm.public_id, who=own)
    for wrong in ({"reason": "  "}, {"action": "return"}, {"action": "off_firm", "firm_id": "firm_none"}, {"key": ""}):
        with pytest.raises(Invalid):
            say(night, **wrong)
    assert Difference.objects.get().state == "open"
    say(night)
    with pytest.raises(Conflict):
        explain(
            operator=night.operator, difference_id=Difference.objects.get().public_id, action="off_own", firm_id="",
            reason="again", key="again", now=here.now,
        )  # fmt: skip
    with pytest.raises(DatabaseError), transaction.atomic():
        Difference.objects.update(explanation="")


def test_one_without_money_needs_a_reason_alone(here, night):
    here.paid(make_firm(), 100 * DOLLAR, card="pm_card_bypassPending")
    here.sim.client().v1.payouts.create({"amount": 3000, "currency": "usd"})
    here.hear()
    here.advance(hours=2)
    PlatformPayout.objects.update(amount_micros=29 * DOLLAR)
    night.run()
    assert sorted(kind for kind, _, _ in night.open()) == ["payout", "transit"]
    for each in Difference.objects.filter(state="open"):
        explain(
            operator=night.operator, difference_id=each.public_id, action="", firm_id="", reason="the bank's mistake",
            key=each.public_id, now=here.now,
        )  # fmt: skip
    night.run()
    assert night.open() == []
    PlatformPayout.objects.update(amount_micros=28 * DOLLAR)
    night.run()
    assert len(night.open()) == 2
    assert not ManualBooking.objects.exists()


def test_a_payout_arrives_when_an_operator_says_that_a_line_is_it(here, night, settings):
    settings.WIRE_IBAN, settings.TWO_PERSON_LIMITS = OURS, {"USD": 1000 * DOLLAR}
    here.paid(make_firm(), 100 * DOLLAR, card="pm_card_bypassPending")
    here.sim.client().v1.payouts.create({"amount": 3000, "currency": "usd"})
    here.hear()
    lines = [Paid(30 * DOLLAR, "STRIPE", name="STRIPE"), Paid(31 * DOLLAR, "STRIPE"), Paid(-30 * DOLLAR, "x")]
    data = camt(lines, currency="USD")
    import_statement(data=data, name="a.xml", now=here.now, operator=night.operator)
    right, wrong, left = StatementLine.objects.order_by("pk")
    for line, refusal in ((wrong, Conflict), (left, Invalid)):
        with pytest.raises(refusal):
            decide(night, line)
    assert on_its_way() == 30 * DOLLAR
    decide(night, right)
    payout = PlatformPayout.objects.get()
    assert (payout.state, payout.line, on_its_way()) == ("arrived", right, 0)
    assert balance_micros(firm=None, kind=AccountKind.SUSPENSE, currency="USD", ref="wire") == DOLLAR
    here.advance(days=3)
    here.hear()
    assert PlatformPayout.objects.get().state == "arrived"
    assert night.run().found_count == 0


def decide(night, line):
    return decide_line(
        operator=night.operator, line_id=line.public_id, action="transit", key=line.public_id, now=night.here.now
    )
