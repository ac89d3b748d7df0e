"""What a new firm may pay in by card, and from when on more."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketplace.payments.fraud.limits import Limits, Paid, refusal, when_fewer_cards
from tests.factories import NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIMITS = Limits(largest_micros=50, day_micros=80, week_micros=120, per_day=3)


def test_each_limit_says_what_is_allowed_and_from_when():
    past = [Paid(NOON - 20 * HOUR, 50)]
    told = refusal(60, past=[], limits=LIMITS, now=NOON)
    assert (told.code, told.allowed_micros, told.free_at) == ("card_amount_limit", 50, None)
    told = refusal(40, past=past, limits=LIMITS, now=NOON)
    assert (told.code, told.allowed_micros, told.free_at) == ("card_day_limit", 30, NOON + 4 * HOUR)
    assert refusal(30, past=past, limits=LIMITS, now=NOON) is None
    past = [Paid(NOON - day * DAY, 40) for day in (2, 4, 6)]
    told = refusal(40, past=past, limits=LIMITS, now=NOON)
    assert (told.code, told.allowed_micros, told.free_at) == ("card_week_limit", 0, NOON + DAY)
    past = [Paid(NOON - hour * HOUR, 1) for hour in (1, 2, 3)]
    told = refusal(1, past=past, limits=LIMITS, now=NOON)
    assert (told.code, told.allowed_micros, told.free_at) == ("card_count_limit", 0, NOON + 21 * HOUR)


def allowed(micros, past, limits, now):
    """The rule itself, said once."""
    day = [each.micros for each in past if now - DAY < each.at <= now]
    week = [each.micros for each in past if now - 7 * DAY < each.at <= now]
    return (
        micros <= limits.largest_micros and len(day) < limits.per_day
        and sum(day) + micros <= limits.day_micros and sum(week) + micros <= limits.week_micros
    )  # fmt: skip


PAST = st.lists(st.builds(Paid, st.integers(0, 200).map(lambda hours: NOON - hours * HOUR), st.integers(1, 60)))
SMALL = st.builds(Limits, st.integers(0, 60), st.integers(0, 100), st.integers(0, 150), st.integers(0, 4))


@given(st.integers(1, 70), PAST, SMALL)
def test_it_is_the_rule_and_looks_ahead_like_one_who_asks_every_hour(micros, past, limits):
    told = refusal(micros, past=past, limits=limits, now=NOON)
    assert (told is None) == allowed(micros, past, limits, NOON)
    if told is None:
        return
    hours = (NOON + hour * HOUR for hour in range(24 * 8 + 1))
    assert told.free_at == next((at for at in hours if allowed(micros, past, limits, at)), None)
    assert told.allowed_micros == max((m for m in range(1, 71) if allowed(m, past, limits, NOON)), default=0)


@given(st.lists(st.integers(0, 200)), st.integers(0, 4))
def test_the_oldest_card_is_forgotten_after_a_week(used, most):
    used = [NOON - hours * HOUR for hours in used]
    hours = (NOON + hour * HOUR for hour in range(24 * 7 + 1))
    first = next((at for at in hours if sum(each > at - 7 * DAY for each in used) < most), NOON + 7 * DAY)
    assert when_fewer_cards(used, most, NOON) == first
