"""What operators book by hand, alone up to a limit and with another one above it."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from django.db import connection, connections, transaction

from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound, Unprocessable
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.payouts.services.sending import order_payouts
from marketplace.payments.selectors import deposit_for_update
from marketplace.payments.services import cancel_deposit, confirm_deposit, start_deposit
from marketplace.payments.wire.models import ManualBooking, StatementLine
from marketplace.payments.wire.selectors import differences, proposals
from marketplace.payments.wire.services.booking import agree, book_difference, decide_line, keep_line, refuse
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.payments.wire.statements import EURO, Paid, camt
from tests.marketplace.payments.wire.test_importing import bring, in_wallet, platform
from tests.stripesim import until

pytestmark = pytest.mark.django_db


def waiting(euros, text="", **options):
    bring(camt([Paid(euros * EURO, text, **options)], opening=10_000 * EURO))
    return StatementLine.objects.latest("pk")


def decide(operator, line, action, key="k", **options):
    return decide_line(operator=operator, line_id=line.public_id, action=action, now=NOON, key=key, **options)


@pytest.mark.parametrize(("euros", "reason"), [(60, "came_in_part"), (140, "came_with_more"), (100, "came_late")])
def test_what_came_is_booked_for_its_deposit(alice, announce, operator, euros, reason):
    deposit = announce(100)
    if reason == "came_late":
        cancel_deposit(firm=alice, deposit_id=deposit.public_id, now=NOON)
    line = waiting(euros, deposit.reference)
    assert decide(operator, line, "deposit").state == "done"
    deposit.refresh_from_db()
    assert (deposit.state, deposit.received_micros) == ("confirmed", euros * EURO)
    shown = api_of(alice).get(f"/api/v1/deposits/{deposit.public_id}/").json()
    assert shown["received"] == {"amount": f"{euros}.000000", "currency": "EUR"}
    assert (in_wallet(alice), platform(AccountKind.SUSPENSE)) == (euros * EURO, 0)
    told = Event.objects.get(firm_id=alice.pk, type="deposit.confirmed")
    assert (told.reason, told.actor) == (reason, operator.public_id)
    second = waiting(40, deposit.reference, reference="later")
    decide(operator, second, "deposit", key="k2")
    assert in_wallet(alice) == (euros + 40) * EURO


def test_money_without_a_reference_goes_to_the_deposit_or_firm_that_an_operator_names(alice, announce, operator):
    deposit = announce(100)
    line = waiting(90, "hours for november")
    decide(operator, line, "deposit", deposit_reference=deposit.reference.lower())
    assert in_wallet(alice) == 90 * EURO
    bob = make_firm()
    line = waiting(7, "hello", reference="2")
    decide(operator, line, "firm", key="k2", firm_id=bob.public_id)
    assert in_wallet(bob) == 7 * EURO
    assert Event.objects.get(type="deposit.assigned").firm_id == bob.pk
    assert platform(AccountKind.SUSPENSE) == 0


def test_a_deposit_that_was_confirmed_by_hand_is_not_paid_twice(alice, announce, operator):
    deposit = announce(100)
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    line = waiting(98, deposit.reference)
    assert line.match == "partial"
    with pytest.raises(Conflict, match="by hand"):
        decide(operator, line, "deposit")
    assert in_wallet(alice) == 100 * EURO
    assert not ManualBooking.objects.exists()


def test_what_the_bank_takes_and_what_is_the_platforms_own(operator):
    decide(operator, waiting(-3, "fee"), "cost")
    decide(operator, waiting(500, "capital"), "own", key="k2")
    assert (platform(AccountKind.GATEWAY_FEE), platform(AccountKind.SUSPENSE)) == (-3 * EURO, 0)
    assert balance_micros(firm=None, kind=AccountKind.OWN, currency="EUR") == 500 * EURO


def test_money_that_goes_back_stays_on_suspense_until_it_has_left(operator):
    line = waiting(50, "for somebody else")
    decide(operator, line, "return")
    line.refresh_from_db()
    assert line.state == "returning"
    assert line.return_reference.startswith("RF")
    assert platform(AccountKind.SUSPENSE) == 50 * EURO


def test_above_the_limit_another_operator_must_agree(alice, announce, operator, other_operator):
    deposit = announce(5000)
    line = waiting(4000, deposit.reference)
    booking = decide(operator, line, "deposit")
    assert (booking.state, in_wallet(alice)) == ("asked", 0)
    with pytest.raises(NotAllowed) as refused:
        agree(operator=operator, booking_id=booking.public_id, now=NOON)
    assert refused.value.code == "second_operator_needed"
    with pytest.raises(NotAllowed):
        agree(operator=make_person(alice), booking_id=booking.public_id, now=NOON)
    with pytest.raises(Conflict, match="asked about"):
        decide(other_operator, line, "own", key="k2")
    assert in_wallet(alice) == 0
    agree(operator=other_operator, booking_id=booking.public_id, now=NOON)
    with pytest.raises(Conflict):
        agree(operator=other_operator, booking_id=booking.public_id, now=NOON)
    assert in_wallet(alice) == 4000 * EURO
    trail = Event.objects.filter(subject=booking.public_id).order_by("pk").values_list("type", "actor", "firm_id")
    assert list(trail) == [
        ("manual_booking.asked", operator.public_id, None),
        ("manual_booking.done", other_operator.public_id, None),
    ]


def test_a_refused_booking_leaves_the_line_waiting(operator, other_operator):
    line = waiting(4000)
    booking = decide(operator, line, "own")
    refuse(operator=other_operator, booking_id=booking.public_id, now=NOON)
    assert StatementLine.objects.get(pk=line.pk).state == "waiting"
    assert decide(operator, line, "own", key="k2").state == "asked"


def test_the_same_key_decides_once(operator, alice):
    line = waiting(50)
    first = decide(operator, line, "firm", firm_id=alice.public_id)
    assert decide(operator, line, "firm", firm_id=alice.public_id) == first
    with pytest.raises(Unprocessable):
        decide(operator, line, "own")
    assert in_wallet(alice) == 50 * EURO


def test_what_does_not_fit_is_refused(operator, alice, announce):
    line = waiting(-50)
    for action in ("deposit", "firm", "return"):
        with pytest.raises(Invalid):
            decide(operator, line, action, firm_id=alice.public_id)
    for action in ("nonsense", "difference", "confirm"):
        with pytest.raises(Invalid):
            decide(operator, line, action)
    credit = waiting(50, reference="2")
    with pytest.raises(Invalid, match="no deposit"):
        decide(operator, credit, "deposit")
    with pytest.raises(Invalid, match="currency"):
        decide(operator, credit, "deposit", deposit_reference=announce(50, currency="USD").reference)
    with pytest.raises(NotFound):
        decide(operator, credit, "firm", firm_id="firm_none")
    with pytest.raises(NotAllowed):
        decide(make_person(alice), credit, "own")
    assert not ManualBooking.objects.exists()


def test_what_was_there_before_is_booked_as_the_platforms_own(operator, other_operator):
    bring(camt([Paid(5 * EURO)], opening=2000 * EURO))
    (found,) = differences()
    assert found.balance_micros == 2000 * EURO
    booking = book_difference(
        operator=operator, currency="EUR", amount_micros=found.balance_micros, reason="opening", now=NOON, key="k"
    )
    assert not differences()[0].is_clean
    agree(operator=other_operator, booking_id=booking.public_id, now=NOON)
    assert differences()[0].is_clean
    assert balance_micros(firm=None, kind=AccountKind.OWN, currency="EUR") == 2000 * EURO
    with pytest.raises(Invalid):
        book_difference(operator=operator, currency="EUR", amount_micros=1, reason=" ", now=NOON, key="k2")


def test_proposals_name_whose_it_may_be_and_why(alice, announce, operator):
    deposit = announce(100)
    assert [each.why for each in proposals(waiting(60, deposit.reference))] == ["its reference was written"]
    line = waiting(100, "no reference", reference="2", name="ALICE gmbh", account="DE02")
    assert [(each.firm, each.deposit) for each in proposals(line)] == [(alice, deposit), (alice, None)]
    decide(operator, line, "deposit", deposit_reference=deposit.reference)
    later = waiting(3, "x", reference="3", name="", account="DE02")
    assert [each.why for each in proposals(later)] == ["it paid from this account before"]
    assert proposals(waiting(-3, "fee", reference="4")) == []


def test_a_large_deposit_is_confirmed_by_hand_by_two(alice, announce, operator, other_operator):
    deposit = announce(1001)
    for _ in range(2):
        assert confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON).state == "created"
    assert in_wallet(alice) == 0
    confirmed = confirm_deposit(operator=other_operator, deposit_id=deposit.public_id, now=NOON)
    assert (confirmed.state, confirmed.confirmed_by) == ("confirmed", other_operator)
    assert in_wallet(alice) == 1001 * EURO
    booking = ManualBooking.objects.get()
    assert (booking.state, booking.asked_by, booking.decided_by) == ("done", operator, other_operator)


def test_agreeing_to_a_deposit_that_a_statement_has_confirmed_meanwhile_changes_nothing(
    alice, announce, operator, other_operator
):
    deposit = announce(1001)
    confirm_deposit(operator=operator, deposit_id=deposit.public_id, now=NOON)
    bring(camt([Paid(1001 * EURO, deposit.reference)]))
    booking = ManualBooking.objects.get()
    with pytest.raises(Conflict, match="confirmed already"):
        agree(operator=other_operator, booking_id=booking.public_id, now=NOON)
    refuse(operator=operator, booking_id=booking.public_id, now=NOON)
    assert in_wallet(alice) == 1001 * EURO


def test_what_goes_back_is_kept_after_all_while_no_file_has_it(operator, alice):
    line = waiting(50)
    decide(operator, line, "return")
    with pytest.raises(NotAllowed):
        keep_line(operator=make_person(alice), line_id=line.public_id, now=NOON)
    kept = keep_line(operator=operator, line_id=line.public_id, now=NOON)
    assert (kept.state, kept.return_reference) == ("waiting", None)
    with pytest.raises(Conflict):
        keep_line(operator=operator, line_id=line.public_id, now=NOON)
    decide(operator, line, "return", key="k2")
    order_payouts(operator=operator, currency="EUR", key="f", now=NOON)
    with pytest.raises(Conflict):
        keep_line(operator=operator, line_id=line.public_id, now=NOON)
    assert platform(AccountKind.SUSPENSE) == 50 * EURO


def test_an_operator_decides_nothing_about_a_firm_of_their_own(alice, announce, operator):
    insider = make_person(alice, "viewer", is_operator=True)
    small, large = announce(100), announce(5000)
    line, partial = waiting(60, small.reference), waiting(4000, large.reference, reference="2")
    booking = decide(operator, partial, "deposit")
    calls = [
        lambda: decide(insider, line, "deposit", key="i"),
        lambda: decide(insider, line, "firm", key="j", firm_id=alice.public_id),
        lambda: agree(operator=insider, booking_id=booking.public_id, now=NOON),
        lambda: confirm_deposit(operator=insider, deposit_id=small.public_id, now=NOON),
    ]
    for call in calls:
        with pytest.raises(NotAllowed) as refused:
            call()
        assert refused.value.code == "own_firm"
    assert in_wallet(alice) == 0


def test_a_difference_is_booked_only_while_it_is_still_one(operator, other_operator):
    late = camt([Paid(2000 * EURO, "capital", on=date(2026, 11, 22))], to_on=date(2026, 11, 22))
    bring(camt([Paid(5 * EURO)], opening=2000 * EURO))
    asked = [
        book_difference(operator=operator, currency="EUR", amount_micros=2000 * EURO, reason="?", now=NOON, key=key)
        for key in "ab"
    ]
    bring(late)  # the file that was missing
    assert differences()[0].is_clean
    for each in asked:
        with pytest.raises(Conflict, match="another one by now"):
            agree(operator=other_operator, booking_id=each.public_id, now=NOON)
    assert differences()[0].is_clean
    assert balance_micros(firm=None, kind=AccountKind.OWN, currency="EUR") == 0


def test_a_small_difference_is_not_booked_twice_with_two_keys(operator):
    bring(camt([Paid(5 * EURO)], opening=20 * EURO))
    given = {"operator": operator, "currency": "EUR", "amount_micros": 20 * EURO, "reason": "opening", "now": NOON}
    book_difference(**given, key="a")
    with pytest.raises(Conflict, match="another one by now"):
        book_difference(**given, key="b")
    assert differences()[0].is_clean


def test_an_operator_does_not_refuse_for_a_firm_of_their_own(alice, announce, operator):
    insider = make_person(alice, "viewer", is_operator=True)
    booking = decide(operator, waiting(4000, announce(5000).reference), "deposit")
    with pytest.raises(NotAllowed):
        refuse(operator=insider, booking_id=booking.public_id, now=NOON)
    assert ManualBooking.objects.get().state == "asked"


def test_what_no_bank_can_send_is_not_put_on_its_way_back(operator):
    bring(camt([Paid(50 * EURO)]).replace(b">50.00<", b">50.005<"))
    line = StatementLine.objects.get()
    with pytest.raises(Invalid, match="whole coins"):
        decide(operator, line, "return")
    line.refresh_from_db()
    assert line.state == "waiting"


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() is not None


@pytest.mark.django_db(transaction=True)
def test_two_operators_who_agree_to_one_deposit_at_once_do_not_wait_for_each_other():
    first, second, third = (make_person(is_operator=True) for _ in range(3))
    deposit, _ = start_deposit(
        firm=make_firm(), currency="EUR", amount_micros=5000 * EURO, idempotency_key="k", now=NOON
    )
    confirm_deposit(operator=first, deposit_id=deposit.public_id, now=NOON)
    booking = ManualBooking.objects.get()

    def run():
        try:
            agree(operator=second, booking_id=booking.public_id, now=NOON)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        deposit_for_update(deposit.public_id)  # as `confirm_deposit` begins
        thread.start()
        assert until(somebody_waits, 30)
        assert ManualBooking.objects.select_for_update(nowait=True).get() == booking
    thread.join()
    assert ManualBooking.objects.get().decided_by == second
    assert confirm_deposit(operator=third, deposit_id=deposit.public_id, now=NOON).state == "confirmed"
