"""The price guide against a plain reading of its own rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.fleet.guide import Guide, Method, Wanted, guide_for, monthly_decline, price_guide, weight_of
from marketplace.fleet.quantiles import effective_count, weighted_quantile, within_deviations
from tests.factories import NOON

USD = 1_000_000


@dataclass(frozen=True)
class Sold:
    """A completed sale."""

    price_micros: int
    at: datetime = NOON
    currency: str = "USD"
    region: str = "eu-west"
    function_grade: str = "F1"
    appearance_grade: str = "good"
    model_slug: str = "rtx-4090-d"
    memory_mib: int = 49_140
    is_modified: bool = True
    is_linked: bool = False


def ago(days: float) -> datetime:
    return NOON - timedelta(days=days)


prices = st.integers(1_000 * USD, 6_000 * USD)
weights = st.floats(0.01, 1.0)


@given(st.lists(st.tuples(prices, weights), min_size=1, max_size=30), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]))
def test_a_quantile_is_a_paid_price_with_the_asked_weight_at_or_below_it(paid, share):
    found = weighted_quantile(paid, share)
    total = math.fsum(weight for _, weight in paid)
    below = math.fsum(weight for price, weight in paid if price < found)
    upto = math.fsum(weight for price, weight in paid if price <= found)
    assert found in {price for price, _ in paid}
    assert below < share * total + 1e-9
    assert upto >= share * total - 1e-9


@given(st.lists(prices, min_size=1, max_size=30), st.integers(1, 5))
def test_whole_weights_are_copies(paid, copies):
    plain = sorted(paid * copies)
    expected = plain[math.ceil(0.5 * len(plain)) - 1]
    assert weighted_quantile([(price, float(copies)) for price in paid], 0.5) == expected


@given(st.lists(weights, min_size=1, max_size=40))
def test_the_effective_count_is_at_most_the_count(given_weights):
    assert effective_count(given_weights) <= len(given_weights) + 1e-9
    assert effective_count([1.0] * len(given_weights)) == pytest.approx(len(given_weights))


def plain_median(values):
    """Of weighted values: walk up until half of the weight is passed."""
    total, passed = math.fsum(weight for _, weight in values), 0.0
    for value, weight in sorted(values):
        passed += weight
        if passed >= total / 2 - 1e-9:
            return value
    raise AssertionError


@given(st.lists(st.tuples(prices, st.sampled_from([0.25, 0.5, 1.0])), max_size=30))
def test_dropped_is_what_is_far_from_the_median_and_never_more_than_half_of_the_weight(paid):
    kept = within_deviations(paid)
    if not paid:
        assert kept == ()
        return
    middle = math.log(plain_median(paid))
    deviation = plain_median([(abs(math.log(price) - middle), weight) for price, weight in paid])
    limit = 3.5 * max(deviation, 0.01)
    for (price, _), is_kept in zip(paid, kept, strict=True):
        distance = abs(math.log(price) - middle)
        assert is_kept == (distance <= limit) or distance == pytest.approx(limit)
    weight_kept = math.fsum(weight for (_, weight), is_kept in zip(paid, kept, strict=True) if is_kept)
    assert weight_kept >= math.fsum(weight for _, weight in paid) / 2 - 1e-9


def test_one_absurd_sale_moves_nothing():
    honest = [Sold(price * USD, ago(2)) for price in (4_300, 4_400, 4_450, 4_500, 4_550, 4_600, 4_700)]
    plain = price_guide(honest, currency="USD", now=NOON)
    with_fraud = price_guide([*honest, Sold(90_000 * USD, NOON)], currency="USD", now=NOON)
    assert plain.p50_micros == with_fraud.p50_micros == 4_500 * USD
    assert with_fraud.dropped_count == 1
    assert "1 left out as far from the rest" in with_fraud.basis


def test_a_sale_weighs_half_after_three_weeks():
    assert weight_of(timedelta(0)) == 1
    assert weight_of(timedelta(days=21)) == pytest.approx(0.5)
    assert weight_of(timedelta(days=63)) == pytest.approx(0.125)


def test_recent_sales_carry_the_price():
    old = [Sold(5_000 * USD, ago(100)) for _ in range(8)]
    new = [Sold((4_500 + number) * USD, ago(1)) for number in range(7)]
    assert price_guide([*old, *new], currency="USD", now=NOON).p50_micros < 4_510 * USD


@given(st.lists(st.builds(Sold, prices, st.floats(0, 120).map(ago)), max_size=12))
def test_there_is_no_guide_below_five_effective_sales(sales):
    guide = price_guide(sales, currency="USD", now=NOON)
    weighed = [(sale.price_micros, weight_of(NOON - sale.at)) for sale in sales]
    left = [weight for (_, weight), is_kept in zip(weighed, within_deviations(weighed), strict=True) if is_kept]
    assert (guide is None) == (effective_count(left) < 5)
    if guide:
        assert guide.p25_micros <= guide.p50_micros <= guide.p75_micros
        assert guide.sale_count == len(left)
        assert f"based on {len(left)} sales, updated " in guide.basis
        assert isinstance(guide.p50_micros, int)


def test_sales_between_linked_firms_are_left_out_and_named():
    honest = [Sold((4_500 + number) * USD, ago(1)) for number in range(6)]
    washed = [Sold(4_900 * USD, ago(1), is_linked=True) for _ in range(20)]
    guide = price_guide([*honest, *washed], currency="USD", now=NOON)
    assert (guide.p50_micros, guide.sale_count, guide.linked_count) == (4_502 * USD, 6, 20)
    assert guide.basis == "based on 6 sales, updated 2026-11-22, 20 left out as between linked firms"
    assert price_guide(washed, currency="USD", now=NOON) is None
    assert monthly_decline(series(0.05, is_linked=True), ANY_LARGE, now=NOON) is None


def test_other_currencies_and_sales_to_come_do_not_count():
    sales = [Sold(4_000 * USD, ago(1)) for _ in range(4)]
    strangers = [Sold(30_000 * USD, ago(1), currency="CNY"), Sold(4_000 * USD, NOON + timedelta(seconds=1))]
    assert price_guide([*sales, *strangers], currency="USD", now=NOON) is None


WANTED = Wanted("rtx-4090-d", 49_140, "USD", function_grade="F1", appearance_grade="good", region="eu-west")


def test_the_narrowest_group_with_enough_sales_is_taken():
    near = [Sold((4_500 + number) * USD, ago(1)) for number in range(6)]
    far = [Sold(3_000 * USD, ago(1), region="us-east") for _ in range(20)]
    guide = guide_for([*near, *far], WANTED, now=NOON)
    assert (guide.sale_count, guide.pooled) == (6, ())
    guide = guide_for([*near[:2], *far], WANTED, now=NOON)
    assert (guide.pooled, guide.dropped_count) == (("region",), 2)
    assert guide.basis.endswith("any region")


def test_factory_cards_and_other_sizes_price_nothing_that_was_modified():
    factory = [Sold(2_000 * USD, ago(1), memory_mib=24_564, is_modified=False) for _ in range(9)]
    assert guide_for(factory, WANTED, now=NOON) is None
    assert guide_for(factory, Wanted("rtx-4090-d", 24_576, "USD"), now=NOON).p50_micros == 2_000 * USD


def test_a_model_says_that_it_is_one():
    guide = Guide(Method.HEDONIC, "USD", 1, 2, 3, 0, 0, 0.0, None, prior="the launch price of 1 599 USD")
    assert guide.basis == (
        "a model, not a market price: based on no sale of like cards and the launch price of 1 599 USD"
    )


ANY_LARGE = Wanted("rtx-4090-d", 49_140, "USD")


def series(rate, days=range(0, 90, 6), **changes):
    """Sales at prices that fall by `rate` a month, in nature's logarithm."""
    return [Sold(round(5_000 * USD * math.exp(rate * day * 12 / 365)), ago(day), **changes) for day in days]


@given(st.floats(-0.1, 0.1))
def test_a_steady_decline_is_found(rate):
    assert monthly_decline(series(rate), ANY_LARGE, now=NOON).basis_points == pytest.approx(10_000 * rate, abs=1)


@given(st.lists(st.tuples(st.integers(0, 120), prices), min_size=12, max_size=24))
def test_the_decline_is_the_median_slope(sold):
    sales = [Sold(price, ago(days)) for days, price in sold]
    slopes = sorted(
        (math.log(b.price_micros / a.price_micros)) / ((b.at - a.at).days * 12 / 365)
        for a in sales
        for b in sales
        if (b.at - a.at).days >= 7
    )
    found = monthly_decline(sales, ANY_LARGE, now=NOON)
    if max(days for days, _ in sold) - min(days for days, _ in sold) < 30:
        assert found is None
    else:
        middle = (slopes[(len(slopes) - 1) // 2] + slopes[len(slopes) // 2]) / 2
        assert found.basis_points == pytest.approx(-10_000 * middle, abs=1)
        assert found.sale_count == len(sales)


def test_odd_sales_do_not_turn_the_decline_round():
    odd = [Sold(90_000 * USD, ago(day)) for day in (1, 2, 3)]
    assert 0 < monthly_decline([*series(0.05), *odd], ANY_LARGE, now=NOON).basis_points < 700


def test_few_or_foreign_sales_say_nothing_of_a_decline():
    assert monthly_decline(series(0.03)[:11], ANY_LARGE, now=NOON) is None
    assert monthly_decline(series(0.03, days=range(20)), ANY_LARGE, now=NOON) is None
    assert monthly_decline(series(0.03, is_modified=False, memory_mib=24_564), ANY_LARGE, now=NOON) is None
    assert monthly_decline(series(0.03, currency="CNY"), ANY_LARGE, now=NOON) is None
