"""Earnings paid with young card money wait, by wire and by Stripe, and their seller is told until when."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.common.errors import Conflict
from marketplace.ledger.models import Account, AccountKind, Entry
from marketplace.ledger.snapshots import take_snapshots
from marketplace.payments.fraud.origins import Move, Origin, Pockets
from marketplace.payments.fraud.seasoning import paid_from, unseasoned
from marketplace.payments.models import SellerTransfer
from marketplace.payments.payouts.selectors import terms
from marketplace.payments.payouts.services.asking import request_payout
from marketplace.payments.transfers import send_earnings
from tests.factories import NOON, api_of, make_firm, make_person
from tests.marketplace.payments.fraud.conftest import DAY, DOLLAR, HOUR, Money
from tests.marketplace.payments.payouts.conftest import name_account
from tests.marketplace.payments.test_money_out import seller as seller_with_account
from tests.marketplace.payments.test_payment_pages import _plain_static_files, browser, url

__all__ = ["_plain_static_files", "seller_with_account"]
CLEARED = NOON + 10 * DAY


def waits(seller, now):
    """What of the cleared earnings waits, and when all of it is free."""
    found, until = unseasoned(seller, "USD", now), now - 7 * DAY
    return found.micros(until=until), found.free_at(until=until)


def sold(money, buyer, seller, micros=60 * DOLLAR, at=NOON + HOUR, order="ord_1"):
    money.hold(buyer, order, micros, at)
    money.settle(buyer, order, seller, micros, at, fee=micros // 20, lease=f"lse_{order}")
    return micros - micros // 20


@pytest.mark.django_db
def test_what_young_card_money_paid_waits_until_it_is_seasoned(money, buyer, seller, season):
    money.card(buyer, 100 * DOLLAR, NOON)
    earned = sold(money, buyer, seller)
    assert waits(seller, NOON + 2 * HOUR) == (0, None)  # it is not cleared either, and counted there
    assert waits(seller, CLEARED) == (earned, NOON + 30 * DAY)
    assert waits(seller, NOON + 30 * DAY - HOUR) == (earned, NOON + 30 * DAY)
    assert waits(seller, NOON + 30 * DAY) == (0, None)


@pytest.mark.django_db
def test_money_from_wires_does_not_wait_and_is_spent_in_the_order_in_which_it_came(money, buyer, seller, season):
    money.wire(buyer, 50 * DOLLAR, NOON - 2 * HOUR)
    money.card(buyer, 100 * DOLLAR, NOON - HOUR)
    money.hold(buyer, "ord_1", 60 * DOLLAR, NOON)
    for minute in range(60):
        money.settle(buyer, "ord_1", seller, DOLLAR, NOON + minute * timedelta(minutes=1))
    assert waits(seller, CLEARED) == (10 * DOLLAR, NOON - HOUR + 30 * DAY)


@pytest.mark.django_db
def test_what_an_order_gives_back_keeps_its_origin(money, buyer, seller, season):
    money.card(buyer, 60 * DOLLAR, NOON - 40 * DAY)  # seasoned
    money.hold(buyer, "ord_1", 60 * DOLLAR, NOON - 39 * DAY)
    money.card(buyer, 60 * DOLLAR, NOON)
    money.release(buyer, "ord_1", 60 * DOLLAR, NOON + HOUR)
    sold(money, buyer, seller, 60 * DOLLAR, NOON + 2 * HOUR, "ord_2")
    assert waits(seller, CLEARED) == (0, None)
    assert sold(money, buyer, seller, 20 * DOLLAR, NOON + 3 * HOUR, "ord_3") == 19 * DOLLAR
    assert waits(seller, CLEARED) == (19 * DOLLAR, NOON + 30 * DAY)


@pytest.mark.django_db
def test_a_credit_from_another_firm_does_not_wash_card_money(money, buyer, seller, season):
    first = make_firm()
    money.card(first, 100 * DOLLAR, NOON)
    money.credit(first, buyer, 40 * DOLLAR, NOON + HOUR)
    sold(money, buyer, seller, 40 * DOLLAR, NOON + 2 * HOUR)
    assert waits(seller, CLEARED) == (38 * DOLLAR, NOON + HOUR + 30 * DAY)


@pytest.mark.django_db
def test_payouts_by_wire_leave_it_and_show_it_as_its_own_line(money, buyer, season, settings, frozen):
    settings.PAYOUT_MINIMUMS = {"USD": 20 * DOLLAR}
    seller = make_firm("Seller")
    person = make_person(seller)
    name_account(seller, person)
    money.wire(buyer, 100 * DOLLAR, NOON - 100 * DAY)
    sold(money, buyer, seller, 50 * DOLLAR, NOON - 99 * DAY, "ord_0")  # 47.50, and no new seller any more
    money.wire(buyer, 10 * DOLLAR, NOON - 9 * DAY)
    money.card(buyer, 100 * DOLLAR, NOON - 8 * DAY - HOUR)
    sold(money, buyer, seller, 80 * DOLLAR, NOON - 8 * DAY, "ord_1")  # 76, of which 16 from the card
    free = terms(seller, "USD", NOON).free
    assert (free.unseasoned_micros, free.free_micros) == (16 * DOLLAR, 107_500_000)
    with pytest.raises(Conflict, match=r"16\.00 were paid with cards not yet seasoned"):
        request_payout(firm=seller, currency="USD", amount_micros=108 * DOLLAR, idempotency_key="k", now=NOON)
    (line,) = api_of(seller, "read").get("/api/v1/payouts/terms/").json()["data"]
    assert line["unseasoned"]["amount"] == "16.000000"
    assert line["unseasoned_until"] == "2026-12-15T11:00:00Z"
    page = browser(person).get(url("payouts")).content.decode()
    assert "Paid with cards not yet seasoned" in page
    assert "2026-12-15T11:00" in page
    request_payout(firm=seller, currency="USD", amount_micros=107_500_000, idempotency_key="k", now=NOON)
    assert terms(seller, "USD", NOON + 22 * DAY).free.free_micros == 16 * DOLLAR


@pytest.mark.django_db
def test_a_new_sellers_reserve_is_of_what_does_not_wait_already(money, buyer, seller, season):
    money.wire(buyer, 100 * DOLLAR, NOON - 9 * DAY)
    money.card(buyer, 100 * DOLLAR, NOON - 9 * DAY + HOUR)
    sold(money, buyer, seller, 200 * DOLLAR, NOON - 8 * DAY)
    free = terms(seller, "USD", NOON).free
    assert (free.unseasoned_micros, free.held_micros, free.free_micros) == (90 * DOLLAR, 10 * DOLLAR, 90 * DOLLAR)


@pytest.mark.django_db(transaction=True)
def test_transfers_to_a_sellers_account_leave_it(here, money, season, settings, seller_with_account):
    buyer, now = make_firm(), here.now
    money.wire(buyer, 50 * DOLLAR, now)
    money.card(buyer, 100 * DOLLAR, now)
    sold(money, buyer, seller_with_account, 100 * DOLLAR, now)
    here.now += 8 * DAY
    assert terms(seller_with_account, "USD", here.now).free.free_micros == 50 * DOLLAR
    assert send_earnings(now=here.now) == 1
    assert SellerTransfer.objects.get().amount_micros == 50 * DOLLAR
    here.work()
    here.now += 23 * DAY
    assert terms(seller_with_account, "USD", here.now).free.free_micros == 45 * DOLLAR


@pytest.mark.django_db
def test_it_costs_few_queries_and_reads_the_season_alone(money, buyer, seller, season):
    for day in range(200, 8, -8):
        money.card(buyer, 10 * DOLLAR, NOON - day * DAY)
        sold(money, buyer, seller, 10 * DOLLAR, NOON - day * DAY + HOUR, f"ord_{day}")
    for _ in range(3):
        other = make_firm()
        money.card(other, 10 * DOLLAR, NOON - 9 * DAY)
        sold(money, other, seller, 10 * DOLLAR, NOON - 9 * DAY, f"ord_{other.pk}")
    take_snapshots(now=NOON - 31 * DAY, least=1, force=True)
    with CaptureQueriesContext(connection) as queries:
        found = unseasoned(seller, "USD", NOON)
    assert found.micros(until=NOON) == 9_500_000 * (2 + 3)  # 24 and 16 days ago by one buyer, and by three others
    assert len(queries) <= 20


@pytest.mark.django_db
def test_without_cards_nothing_is_read(money, buyer, seller, season):
    money.wire(buyer, 10 * DOLLAR, NOON)
    sold(money, buyer, seller, 10 * DOLLAR)
    with CaptureQueriesContext(connection) as queries:
        assert unseasoned(seller, "USD", CLEARED).parts == ()
    assert not any("ledger_entry" in each["sql"] for each in queries)


@pytest.mark.django_db
def test_a_deposits_money_is_found_at_those_who_got_it(money, buyer, seller, season):
    money.wire(buyer, 30 * DOLLAR, NOON)
    deposit = money.card(buyer, 100 * DOLLAR, NOON)
    sold(money, buyer, seller, 60 * DOLLAR)
    paid = {Account.objects.get(pk=each.payee).kind: sum(lot.micros for lot in each.lots)
            for each in paid_from(deposit, CLEARED)}  # fmt: skip
    assert paid == {"earnings": 27 * DOLLAR, "platform_fee": 3 * DOLLAR}


def whole_story(buyer, seller, now):
    """The oracle: every journal of the buyer, one by one from the beginning, through the pure core."""
    own = list(Account.objects.filter(firm=buyer, kind__in=["wallet", "escrow"]))
    pockets = Pockets(wallet=next(each.pk for each in own if each.kind == "wallet"), held={each.pk: 0 for each in own})
    entries = Entry.objects.filter(journal__entries__account__in=own).distinct().order_by("journal_id", "pk")
    earnings, micros = Account.objects.get(firm=seller, kind="earnings"), 0
    for _, group in itertools.groupby(entries.select_related("journal", "account"), lambda entry: entry.journal_id):
        legs = list(group)
        journal, is_card = legs[0].journal, any(each.account.ref == "stripe" for each in legs)
        origin = Origin(journal.pk, "x", journal.at + 30 * DAY if is_card else None)
        moved = tuple((each.account_id, each.amount_micros) for each in legs)
        for payment in pockets.apply(Move(journal.at, moved, origin)):
            if payment.payee == earnings.pk and payment.at <= now - 7 * DAY:
                micros += payment.unseasoned_micros(now)
    return micros


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["card", "wire", "hold", "settle", "settle", "settle", "release"]),
        st.sampled_from(["ord_1", "ord_2"]),
        st.integers(1, 40),
        st.sampled_from([timedelta(minutes=7), timedelta(hours=5), 3 * DAY, 9 * DAY]),
    ),
    min_size=6, max_size=30,
)  # fmt: skip


@given(STEPS)
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.django_db
def test_reading_the_season_alone_finds_what_the_whole_story_says(steps):
    money, now = Money(), NOON
    with transaction.atomic():
        buyer, seller = make_firm(), make_firm()
        money.wire(buyer, 5, NOON)
        money.account(seller, AccountKind.EARNINGS)
        for what, order, micros, pause in steps:
            held = money.account(buyer, AccountKind.ESCROW, order).balance_micros
            free = money.account(buyer, AccountKind.WALLET).balance_micros
            if what in {"card", "wire"}:
                getattr(money, what)(buyer, micros, now)
            elif what == "hold" and free:
                money.hold(buyer, order, min(micros, free), now)
            elif what == "settle" and held:
                money.settle(buyer, order, seller, min(micros, held), now, lease=f"lse_{micros % 2}")
            elif what == "release" and held:
                money.release(buyer, order, min(micros, held), now)
            now += pause
            found = unseasoned(seller, "USD", now)
            assert found.micros(until=now - 7 * DAY) == whole_story(buyer, seller, now)
        transaction.set_rollback(True)
