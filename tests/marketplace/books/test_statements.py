"""Statements add up to the micro, whatever the period, and fold a lease's many settlements."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from marketplace.books.months import last_month, month_of, months, next_month
from marketplace.books.rounding import rounded
from marketplace.books.statements import Period, period_of, statement_of
from marketplace.common.errors import Invalid
from marketplace.ledger.folding import Held, entries_of, folded, held_at
from marketplace.ledger.models import AccountKind, Code, Journal
from marketplace.ledger.selectors import account_for, wallet_balances
from marketplace.ledger.services import Leg, post
from marketplace.ledger.snapshots import take_snapshots
from tests.factories import NOON
from tests.marketplace.books.trade import DECEMBER, NOVEMBER, Trade

MONTH = Period(NOVEMBER, DECEMBER)


def wallet(firm):
    """What the wallet says, as a statement does."""
    (line,) = wallet_balances(firm)
    return Held(line.available_micros, line.reserved_micros, line.earnings_micros)


def test_a_lease_is_one_line_and_both_sides_add_up_to_the_wallet(trade):
    settlements = Journal.objects.filter(code="settlement").count()
    assert settlements > 10
    bought = statement_of(firm=trade.bob, currency="USD", period=MONTH)
    sold = statement_of(firm=trade.alice, currency="USD", period=MONTH)
    assert (bought.opening, bought.closing) == (Held(), wallet(trade.bob))
    assert (sold.opening, sold.closing) == (Held(), wallet(trade.alice))
    (used,) = [line for line in bought.lines if line.code == "settlement"]
    (earned,) = sold.lines
    assert (used.subject, used.journals_count, used.fee_micros) == (trade.lease.public_id, settlements, None)
    assert -used.moved.held_micros == earned.gross_micros == trade.lease.settled_micros
    assert earned.fee_micros == trade.lease.settled_micros - trade.lease.seller_micros
    assert sold.sold_micros - sold.fees_micros == sold.closing.earned_micros
    assert {total.code for total in bought.totals} == {"deposit", "order_escrow", "settlement", "escrow_release"}
    assert "H100" in sold.about[trade.lease.public_id]
    detail = entries_of(
        firm=trade.alice, currency="USD", since=NOVEMBER, until=DECEMBER, code=earned.code, subject=earned.subject
    )
    assert sum(entry.amount_micros for entry in detail) == earned.moved.earned_micros


def test_any_cut_of_the_time_carries_the_balance_over(trade):
    take_snapshots(now=trade.clock.now(), least=1, force=True)
    for firm in (trade.alice, trade.bob):
        at, before, moved = NOON - timedelta(minutes=1), Held(), Held()
        while at < NOON + timedelta(hours=1):
            part = statement_of(firm=firm, currency="USD", period=Period(at, at + timedelta(minutes=7)), by_day=True)
            assert part.opening == before == held_at(firm, "USD", at)
            before, at = part.closing, at + timedelta(minutes=7)
            moved = sum((line.moved for line in part.lines), moved)
        assert before == moved == wallet(firm)


def test_a_charge_of_a_micro_is_all_fee_and_still_on_the_sellers_statement(trade):
    wallet = account_for(firm=trade.bob, kind=AccountKind.WALLET, currency="USD")
    fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD")
    at, subject = trade.clock.advance(86_400), trade.lease.public_id
    post(ref="micro", code=Code.SETTLEMENT, legs=[Leg(wallet, -1), Leg(fee, 1)], subject=subject, now=at)
    whole = statement_of(firm=trade.alice, currency="USD", period=MONTH)
    assert whole.sold_micros == trade.lease.settled_micros + 1
    assert whole.closing.earned_micros == trade.lease.seller_micros == whole.sold_micros - whole.fees_micros
    *_, last = statement_of(firm=trade.alice, currency="USD", period=MONTH, by_day=True).lines
    assert (last.day, last.gross_micros, last.fee_micros) == (at.date(), 1, 1)
    assert statement_of(firm=trade.bob, currency="USD", period=MONTH).sold_micros == 0


def test_what_is_charged_after_the_lease_was_closed_is_sold_all_the_same(trade):
    """Late in a month that is closed, it counts for the next one, in which the lease did not live any more."""
    wallet = account_for(firm=trade.bob, kind=AccountKind.WALLET, currency="USD")
    earnings = account_for(firm=trade.alice, kind=AccountKind.EARNINGS, currency="USD")
    fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD")
    legs, subject = [Leg(wallet, -20), Leg(earnings, 19), Leg(fee, 1)], trade.lease.public_id
    post(ref="late", code=Code.SETTLEMENT, legs=legs, subject=subject, now=DECEMBER + timedelta(days=1))
    december = Period(DECEMBER, next_month(DECEMBER))
    sold = statement_of(firm=trade.alice, currency="USD", period=december)
    assert (sold.sold_micros, sold.fees_micros) == (20, 1)
    assert statement_of(firm=trade.bob, currency="USD", period=december).sold_micros == 0


@pytest.mark.django_db(transaction=True)
def test_what_was_earned_and_its_fee_are_of_one_moment(frozen):
    """A settlement that comes while a statement is read is on it whole or not at all."""
    trade = Trade(frozen)
    at, subject = trade.clock.now(), trade.lease.public_id
    wallet = account_for(firm=trade.bob, kind=AccountKind.WALLET, currency="USD")
    earnings = account_for(firm=trade.alice, kind=AccountKind.EARNINGS, currency="USD")
    fee = account_for(firm=None, kind=AccountKind.PLATFORM_FEE, currency="USD")

    come: list[str] = []

    def between(execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        if "ledger_entry" in sql and not come:
            come.append(sql)
            legs = [Leg(wallet, -100), Leg(earnings, 95), Leg(fee, 5)]
            post(ref="between", code=Code.SETTLEMENT, legs=legs, subject=subject, now=at)
        return answer

    with connection.execute_wrapper(between):
        (line,) = folded(firm=trade.alice, currency="USD", since=NOVEMBER, until=DECEMBER, sold=[subject])
    assert come
    assert Journal.objects.filter(ref="between").exists()
    assert (line.gross_micros, line.fee_micros) == (
        trade.lease.settled_micros, trade.lease.settled_micros - trade.lease.seller_micros
    )  # fmt: skip


def test_another_currency_is_another_statement(trade):
    other = statement_of(firm=trade.bob, currency="EUR", period=MONTH)
    assert (other.opening, other.lines, other.closing) == (Held(), [], Held())


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, (date(2026, 11, 1), date(2026, 12, 1))),
        (date(2026, 10, 1), None, (date(2026, 10, 1), date(2026, 11, 1))),
        (None, date(2026, 10, 1), (date(2026, 9, 1), date(2026, 10, 1))),
        (date(2026, 2, 3), date(2026, 2, 4), (date(2026, 2, 3), date(2026, 2, 4))),
    ],
)
def test_a_period_is_a_month_unless_it_is_said(since, until, expected):
    period = period_of(since, until, NOON)
    assert (period.since.date(), period.until.date()) == expected
    assert period.last_day == period.until.date() - timedelta(days=1)


@pytest.mark.parametrize("days", [(date(2026, 2, 3), date(2026, 2, 3)), (date(1, 1, 1), date(2026, 1, 1))])
def test_an_empty_period_is_refused(days):
    with pytest.raises(Invalid):
        period_of(*days, NOON)


def test_a_period_is_a_year_at_most():
    assert period_of(date(2024, 1, 1), date(2025, 1, 1), NOON).until.year == 2025
    with pytest.raises(Invalid) as refused:
        period_of(date(2024, 1, 1), date(2025, 1, 2), NOON)
    assert refused.value.code == "period_too_long"


@given(st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2100, 1, 1)))
def test_months_follow_each_other(at):
    since = month_of(at.replace(tzinfo=NOVEMBER.tzinfo))
    assert since.day == 1
    assert last_month(next_month(since)) == since == next_month(last_month(since))
    assert list(months(since, next_month(next_month(since)))) == [since, next_month(since)]


@given(st.integers(-(10**15), 10**15), st.sampled_from([("JPY", 10**6), ("USD", 10**4), ("KWD", 10**3)]))
def test_rounding_is_to_the_nearest_coin_and_says_what_it_added(micros, money):
    currency, coin = money
    found = rounded(micros, currency)
    assert found.micros % coin == 0
    assert found.micros - found.difference_micros == micros
    assert abs(found.difference_micros) * 2 <= coin
    if abs(micros) % coin * 2 == coin:
        assert abs(found.micros) > abs(micros)
