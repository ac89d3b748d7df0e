"""Runs against the simulator: what agrees is silent, what differs is a row, and suspense holds its money."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction

from marketplace.common.errors import NotAllowed, NotFound
from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind, Code, Journal
from marketplace.ledger.selectors import account_for, balance_micros
from marketplace.ledger.services import Leg, post
from marketplace.payments import inbox
from marketplace.payments.gateway import BookEntry, Notice
from marketplace.payments.models import (
    Difference,
    GatewayNotice,
    GatewayTransaction,
    NoticeSource,
    PlatformPayout,
    ReconciliationRun,
)
from marketplace.payments.reconciliation.selectors import books_of, standings
from marketplace.payments.reconciliation.services.comparing import compare
from marketplace.payments.reconciliation.services.reading import keep_entries
from marketplace.payments.reconciliation.services.running import EVERY, ask_run, work
from marketplace.payments.refunds import refund_deposit
from tests.factories import make_firm, make_person
from tests.marketplace.payments.reconciliation.conftest import DOLLAR, at_stripe, on_its_way, suspense

pytestmark = pytest.mark.django_db(transaction=True)


def lose_a_payment(here, night, micros=40 * DOLLAR):
    """A firm pays, Stripe has it, and nothing tells of it; returns the deposit."""
    deposit = here.deposit(make_firm(), micros, key="lost")
    here.work()
    here.pay(deposit)
    here.advance(hours=2)
    deposit.refresh_from_db()
    return deposit


def test_without_differences_the_ledger_has_what_stripe_says(here, night):
    firm = make_firm()
    deposit = here.paid(firm, 100 * DOLLAR)
    here.paid(firm, 70 * DOLLAR, "EUR", key="euros", card="pm_card_bypassPending")
    refund_deposit(firm=firm, deposit_id=deposit.public_id, amount_micros=10 * DOLLAR, key="r", now=here.now, actor="t")
    here.work()
    here.hear()
    here.advance(hours=2)
    run = night.run()
    assert (run.state, run.found_count, run.new_count) == ("done", 0, 3)
    assert night.open() == []
    total = run.totals["USD"]
    assert total["available_micros"] + total["pending_micros"] == total["ledger_micros"] == at_stripe() > 0
    assert run.totals["EUR"]["available_micros"] == at_stripe("EUR") > 0
    assert not standings(here.now)[0].is_red
    assert night.run().new_count == 0


def test_a_booking_that_was_lost_is_found_put_on_suspense_and_closes_itself(here, night):
    here.paid(make_firm(), 100 * DOLLAR)
    lost = lose_a_payment(here, night)
    before = at_stripe()
    run = night.run()
    ((kind, subject, off),) = night.open()
    net = GatewayTransaction.objects.get(transaction_id=subject).net_micros
    assert (kind, off) == ("not_booked", net)
    assert at_stripe() == before + net
    assert suspense() == net
    assert run.totals["USD"]["ledger_micros"] == at_stripe()
    assert run.totals["USD"]["suspense_micros"] == net
    assert Event.objects.filter(type="difference.opened", firm_id=None, reason="not_booked").count() == 1
    assert standings(here.now)[0].is_red
    night.run()
    assert len(night.open()) == 1
    assert suspense() == net
    here.hear()
    lost.refresh_from_db()
    assert lost.state == "confirmed"
    night.run()
    assert night.open() == []
    assert Difference.objects.get().state == "gone"
    assert suspense() == 0
    assert at_stripe() == before + net
    assert not standings(here.now)[0].is_red
    assert Event.objects.filter(type="difference.gone", firm_id=None).count() == 1


def test_what_happened_just_now_may_still_be_on_its_way(here, night):
    deposit = here.deposit(make_firm())
    here.work()
    here.pay(deposit)
    assert night.run().found_count == 0
    here.advance(hours=2)
    assert night.run().found_count == 1


def test_money_that_stripe_never_had_is_found(here, night):
    firm = make_firm()
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="stripe")
    wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency="USD")
    legs = [Leg(outside, -5 * DOLLAR), Leg(wallet, 5 * DOLLAR)]
    post(ref="stripe:txn_of_nobody", code=Code.DEPOSIT, legs=legs, now=here.now)
    here.advance(hours=2)
    night.run()
    assert night.open() == [("not_there", "stripe:txn_of_nobody", -5 * DOLLAR)]
    assert (at_stripe(), suspense()) == (0, -5 * DOLLAR)


def test_a_run_is_asked_for_each_night_and_when_an_operator_wants_it(here, night):
    assert standings(here.now)[0].is_old
    assert work(lambda: here.now) == 1
    assert work(lambda: here.now) == 0
    here.advance(seconds=EVERY.total_seconds() + 1)
    assert work(lambda: here.now) == 1
    first = ask_run(operator=night.operator, gateway="stripe", now=here.now)
    assert ask_run(operator=night.operator, gateway="stripe", now=here.now) == first
    assert work(lambda: here.now) == 1
    assert Event.objects.filter(type="reconciliation.asked", actor=night.operator.public_id).count() == 1
    assert not standings(here.now)[0].is_red
    assert standings(here.advance(hours=27))[0].is_red
    with pytest.raises(NotAllowed):
        ask_run(operator=make_person(make_firm()), gateway="stripe", now=here.now)
    with pytest.raises(NotFound):
        ask_run(operator=night.operator, gateway="wire", now=here.now)


def test_a_list_is_read_page_by_page_and_goes_on_where_a_tick_ended(here, night, monkeypatch):
    monkeypatch.setattr("marketplace.payments.stripe_gateway.books.PAGE", 2)
    client, ticks = here.sim.client(), iter(range(10_000))
    for _ in range(5):
        client.v1.payment_intents.create(
            {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "off_session": True, "confirm": True}
        )
    ask_run(operator=night.operator, gateway="stripe", now=here.now)

    def slow():
        return here.now + timedelta(seconds=8 * next(ticks))

    assert work(slow) == 0
    run = ReconciliationRun.objects.get()
    assert run.page_after
    assert not run.is_read
    assert 0 < GatewayTransaction.objects.count() < 5
    assert sum(work(slow) for _ in range(8)) == 1
    assert GatewayTransaction.objects.count() == 5
    run.refresh_from_db()
    assert (run.state, run.new_count) == ("done", 5)


def test_stripe_not_answering_is_tried_again_and_a_wrong_key_is_told(here, night, settings):
    ask_run(operator=night.operator, gateway="stripe", now=here.now)
    here.fault("error")
    assert work(lambda: here.now) == 0
    run = ReconciliationRun.objects.get()
    assert run.state == "asked"
    assert run.error
    here.advance(minutes=11)
    assert work(lambda: here.now) == 1
    settings.STRIPE_SECRET_KEY = "sk_live_wrong"
    ask_run(operator=night.operator, gateway="stripe", now=here.now)
    assert work(lambda: here.now) == 0
    assert standings(here.now)[0].failed.error
    assert standings(here.now)[0].is_red
    settings.STRIPE_SECRET_KEY = "sk_test_fallow"
    here.advance(minutes=11)
    night.run()
    assert not standings(here.now)[0].is_red


def test_what_stripe_tells_otherwise_than_before_is_a_row_and_a_difference(here, night):
    here.paid(make_firm(), 100 * DOLLAR)
    here.advance(hours=2)
    night.run()
    told = GatewayTransaction.objects.get()
    with pytest.raises(DatabaseError), transaction.atomic():
        GatewayTransaction.objects.filter(pk=told.pk).update(amount_micros=1)
    other = GatewayTransaction.objects.get()
    other.pk, other.amount_micros, other.net_micros = None, other.amount_micros - DOLLAR, other.net_micros - DOLLAR
    GatewayTransaction.objects.bulk_create([other])
    night.run()
    assert ("changed", told.transaction_id, -DOLLAR) in night.open()
    evidence = Difference.objects.get(kind="changed").evidence
    assert evidence["changed"] == {"amount_micros": [100 * DOLLAR, 99 * DOLLAR]}


def test_a_balance_that_is_not_the_sum_of_its_entries_is_read_three_times_before_it_is_believed(here, night):
    here.paid(make_firm(), 100 * DOLLAR)
    here.advance(days=10)
    night.run()
    ghost = GatewayTransaction.objects.get()
    ghost.pk, ghost.transaction_id, ghost.type = None, "txn_ghost", "charge"
    GatewayTransaction.objects.bulk_create([ghost])
    here.advance(days=1)
    run = night.run()
    assert run.reads_count == 3
    kinds = {kind: off for kind, _, off in night.open()}
    assert kinds == {"not_booked": ghost.net_micros, "balance": -ghost.net_micros}
    assert at_stripe() == run.totals["USD"]["ledger_micros"] == sum(run.holdings["USD"])


def test_what_agrees_is_left_out_and_nothing_else(here, night):
    firm = make_firm()
    for number in range(4):
        here.paid(firm, 100 * DOLLAR, key=f"k{number}")
    here.advance(days=2)
    lose_a_payment(here, night)
    here.advance(days=2)
    night.run()
    run = ReconciliationRun.objects.latest("pk")
    whole, rest = books_of(run, leave_out=False), books_of(run)
    assert (len(whole.entries), len(rest.entries), len(whole.booked), len(rest.booked)) == (5, 1, 4, 0)
    assert rest.left_out == {"USD": sum(each.net_micros for each in whole.entries) - rest.entries[0].net_micros}
    assert whole.left_out == {}


def test_a_payout_to_the_banks_account_is_on_its_way_until_it_comes_back(here, night):
    here.paid(make_firm(), 100 * DOLLAR, card="pm_card_bypassPending")
    had = at_stripe()
    payout = here.sim.client().v1.payouts.create({"amount": 3000, "currency": "usd"})
    here.hear()
    assert (at_stripe(), on_its_way()) == (had - 30 * DOLLAR, 30 * DOLLAR)
    assert PlatformPayout.objects.get().state == "sent"
    here.sim.client().v1.payouts.cancel(payout.id)
    here.hear()
    assert (at_stripe(), on_its_way()) == (had, 0)
    assert PlatformPayout.objects.get().state == "failed"
    here.sim.client().v1.payouts.create({"amount": 5000, "currency": "usd"})
    here.hear()
    here.advance(days=3)
    here.hear()
    assert set(PlatformPayout.objects.values_list("state", flat=True)) == {"failed", "paid"}
    run = night.run()
    assert night.open() == []
    assert run.totals["USD"]["in_transit_micros"] == 50 * DOLLAR
    total = run.totals["USD"]
    assert total["ledger_micros"] == sum(
        total[each] for each in ("available_micros", "pending_micros", "in_transit_micros")
    )
    assert Journal.objects.filter(code="transit").count() == 3
    assert balance_micros(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="stripe_transit") == -50 * DOLLAR


def test_an_automatic_payout_is_compared_with_its_entries(here, night):
    here.paid(make_firm(), 100 * DOLLAR, card="pm_card_bypassPending")
    here.paid(make_firm(), 50 * DOLLAR, card="pm_card_bypassPending")
    had = at_stripe()
    here.sim.sim("payout", {"currency": "usd"})
    here.hear()
    assert (at_stripe(), on_its_way()) == (0, had)
    night.run()
    assert PlatformPayout.objects.get().parts is None
    here.advance(days=4)
    here.hear()
    night.run()
    assert len(PlatformPayout.objects.get().parts) == 3
    assert night.open() == []
    run = ReconciliationRun.objects.latest("pk")
    assert books_of(run).payouts == []
    PlatformPayout.objects.update(parts=PlatformPayout.objects.get().parts[:1])
    night.run()
    ((kind, _, off),) = night.open()
    assert (kind, off) == ("payout", 0)


def test_what_stripe_takes_by_an_entry_of_its_own_is_booked_once(here, night):
    now = here.now
    fee = BookEntry("txn_fee", "stripe_fee", "USD", -2 * DOLLAR, 0, -2 * DOLLAR, "", now - timedelta(days=3), now)
    nothing = BookEntry("txn_nothing", "stripe_fee", "USD", 0, 0, 0, "", now - timedelta(days=3), now)
    for _ in range(2):
        keep_entries("stripe", [fee, nothing], now)
        run = ReconciliationRun.objects.create(
            gateway="stripe", asked_at=now, next_try_at=now, read_at=now, is_read=True,
            holdings={"USD": [-2 * DOLLAR, 0]},
        )  # fmt: skip
        assert compare(run, now)
        assert night.open() == []
    assert at_stripe() == -2 * DOLLAR
    assert balance_micros(firm=None, kind=AccountKind.GATEWAY_FEE, currency="USD", ref="stripe") == -2 * DOLLAR
    assert Journal.objects.get(ref="stripe:txn_fee").code == "gateway_fee"


def test_a_payout_of_a_connected_account_is_its_holders(here, night):
    told = Notice("evt_1", "payout.created", "payout", "po_of_theirs", "acct_1", here.now)
    inbox.take("stripe", [told], source=NoticeSource.SENT, now=here.now)
    here.look()
    assert GatewayNotice.objects.get().state == "done"
    assert not PlatformPayout.objects.exists()
