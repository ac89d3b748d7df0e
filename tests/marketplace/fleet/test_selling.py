"""Many cards: how many stay for rent, how fast the others go, what the bids pay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.fleet.advice import break_even
from marketplace.fleet.selling import WEEKS_MAX, best_pace, bids_for, cards_to_rent, pace, price_left_over
from tests.marketplace.fleet.test_advice import USD, Plain, anything, inputs

counts = st.integers(1, 300)


def test_the_story_for_ten_cards():
    assert cards_to_rent(10, inputs(card_value=2_000 * USD)) == 4  # 2 cards' worth of demand, 43 % needed
    assert cards_to_rent(10, inputs(card_value=4_500 * USD)) == 2
    assert cards_to_rent(10, inputs(card_value=2_000 * USD, rented_share=7_000)) == 10
    assert cards_to_rent(10, inputs(rented_share=0)) == 0


@given(counts, anything)
def test_kept_are_as_many_as_the_demand_keeps_busy_enough(count, values):
    given_inputs = inputs(**values)
    kept, needed = cards_to_rent(count, given_inputs), break_even(given_inputs)
    demand = count * values["rented_share"] / 10_000
    assert 0 <= kept <= count
    if needed is not None and needed > 0:
        if kept:
            assert demand / kept >= float(needed) - 1e-9
        if kept < count and needed <= 1 - values["own_share"] / 10_000:
            assert demand / (kept + 1) < float(needed) + 1e-9


@given(counts, anything, st.integers(0, 100))
def test_the_pace_is_the_best_of_all_even_paces(count, values, sold):
    given_inputs = inputs(**values, sold_30_days=sold)
    best = best_pace(count, given_inputs)
    tried = [pace(count, weeks, given_inputs).proceeds_micros for weeks in range(1, min(count, WEEKS_MAX) + 1)]
    assert best.proceeds_micros == max(tried)
    assert best.per_week * best.weeks >= count > best.per_week * (best.weeks - 1)
    assert 0 <= best.fall_basis_points <= 5_500


def test_a_week_at_a_time_by_hand():
    given_inputs = inputs(rented_share=0, fixed_cost=0, idle_watts=0, sold_30_days=30, impact=1_000)
    found = pace(2, 2, given_inputs)
    month = 7 * 12 / 365
    plain = 4_500 * (1 - 0.1 / 7) * 0.92 * (1 + math.exp(-0.03 * month) / 1.01**month)
    assert found.proceeds_micros == pytest.approx(plain * USD, abs=20_000)
    assert (found.per_week, found.weeks, found.fall_basis_points) == (1, 2, 142)


@given(st.integers(1, 60), st.integers(1, 26), anything, st.integers(0, 100), st.integers(0, 10_000))
def test_a_pace_is_worth_what_its_weeks_are(count, weeks, values, sold, impact):
    """The sum over the weeks in floating point: a week's own cards lower its price, what waits is rented out."""
    found = pace(count, weeks, inputs(**values, sold_30_days=sold, impact=impact))
    plain, per_week, left, worth = Plain(values), math.ceil(count / weeks), count, 0.0
    price_left = max(1 - impact / 10_000 * per_week / (max(sold, 1) * 7 / 30), 0.45)
    rented, week, month = plain.rented_share if plain.gain(0) > 0 else 0, 0, 365 / 7 / 12
    while left:
        t, now_sold = week / month, min(per_week, left)
        price = plain.card_value * math.exp(-plain.monthly_decline * t) * price_left * (1 - plain.selling_cost)
        left -= now_sold
        worth += (now_sold * price + left * plain.m(rented) / month) / (1 + plain.money_cost) ** t
        week += 1
    assert found.proceeds_micros == pytest.approx(worth * USD, rel=1e-6, abs=20_000)
    assert (found.per_week, found.weeks, found.count) == (per_week, week, count)
    assert found.price_micros == pytest.approx(plain.card_value * price_left * USD, rel=1e-6, abs=20_000)


def test_a_fast_decline_sells_fast_and_a_thin_market_slowly():
    falling = best_pace(40, inputs(monthly_decline=1_500, sold_30_days=300))
    steady = best_pace(40, inputs(monthly_decline=0, sold_30_days=30, money_cost=0, fixed_cost=0))
    assert falling.weeks < steady.weeks
    assert best_pace(0, inputs()) is None
    assert price_left_over(1, inputs(sold_30_days=0)) < price_left_over(1, inputs(sold_30_days=30))


@given(st.lists(st.integers(1, 9_000), max_size=20), st.integers(1, 25))
def test_bids_are_taken_from_the_best_down(bids, count):
    found = bids_for(count, bids)
    best = sorted(bids)[::-1][:count]
    assert (found.asked, found.filled) == (count, len(best))
    if best:
        assert found.worst_micros == min(best)
        assert found.average_micros == sum(best) // len(best)
