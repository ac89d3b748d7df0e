"""The price model against plain least squares, and what it does with none, few and many sales."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.fleet.guide import Method, Wanted
from marketplace.fleet.hedonic import (
    AGE_CURVE,
    EXPECTED,
    NOISE,
    Launch,
    Ridge,
    age_factor,
    cholesky,
    modelled_guide,
    pulled_in,
    solve,
)
from tests.factories import NOON
from tests.marketplace.fleet.test_guide import Sold

USD = 1_000_000
LAUNCHES = {
    "rtx-4090": Launch(2022, 1_599 * USD, "USD", 24_576),
    "rtx-4090-d": Launch(2023, 12_999 * USD, "CNY", 24_576),
}
WANTED = Wanted("rtx-4090", 49_140, "USD", function_grade="F2")
NAMES = ["model:a", "model:b", "grade:F1", "grade:F2", "region:x", "mod:modified"]


def like(price, **facts):
    """A factory 4090 sold yesterday."""
    plain = {"model_slug": "rtx-4090", "memory_mib": 24_576, "is_modified": False, "function_grade": "F2"}
    return Sold(price * USD, NOON - timedelta(days=1), **(plain | facts))


def test_one_absurd_sale_moves_the_model_by_a_bounded_part_and_a_washed_one_not_at_all():
    alone = modelled_guide([], WANTED, LAUNCHES, now=NOON)
    for absurd in (90_000, 9_000_000):
        guide = modelled_guide([like(absurd)], WANTED, LAUNCHES, now=NOON)
        assert alone.p50_micros < guide.p50_micros < 3 * alone.p50_micros
        assert guide.basis.endswith("its condition, 1 far from the rest counted as nearer")
    honest = modelled_guide([like(450 + number) for number in range(4)], WANTED, LAUNCHES, now=NOON)
    mixed = modelled_guide([*(like(450 + number) for number in range(4)), like(90_000)], WANTED, LAUNCHES, now=NOON)
    assert mixed.p50_micros == pytest.approx(honest.p50_micros, rel=0.25)
    washed = modelled_guide([like(900, is_linked=True)], WANTED, LAUNCHES, now=NOON)
    assert (washed.p50_micros, washed.linked_count) == (alone.p50_micros, 1)
    assert washed.basis.endswith("1 left out as between linked firms")


def test_a_market_that_has_moved_away_from_the_prior_is_followed():
    dear = [like(5_000 + 10 * number) for number in range(12)]
    guide = modelled_guide(dear, WANTED, LAUNCHES, now=NOON)
    assert (guide.sale_count, guide.pulled_count) == (12, 0)
    assert guide.p50_micros > 2 * modelled_guide([], WANTED, LAUNCHES, now=NOON).p50_micros


def test_one_models_sales_are_not_pulled_towards_those_of_another():
    launches = LAUNCHES | {"rtx-3090": Launch(2020, 1_499 * USD, "USD", 24_576)}
    fallen = [like(20 + number % 3, model_slug="rtx-3090") for number in range(30)]
    usual = [like(360 + number) for number in range(200)]
    wanted = Wanted("rtx-3090", 24_576, "USD", function_grade="F2")
    guide = modelled_guide([*usual, *fallen], wanted, launches, now=NOON)
    assert (guide.p50_micros, guide.pulled_count) == (pytest.approx(21 * USD, rel=0.15), 0)


RESIDUALS = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 1)), max_size=12)


@given(RESIDUALS)
def test_what_is_far_from_the_weighted_middle_is_pulled_in_and_nothing_else(weighed):
    near = pulled_in(weighed)
    beside = sorted([*weighed, (0.0, 1.0)])
    half = sum(weight for _, weight in beside) / 2

    def middle_of(values):
        passed = 0.0
        for value, weight in sorted(values):
            passed += weight
            if passed >= half - 1e-9:
                return value
        raise AssertionError

    middle = middle_of(beside)
    limit = 3.5 * max(middle_of([(abs(value - middle), weight) for value, weight in beside]), 0.3)
    for (value, _), found in zip(weighed, near, strict=True):
        assert found == pytest.approx(max(middle - limit, min(value, middle + limit)))


rows = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(NAMES), st.floats(-2, 2), min_size=1),
        st.floats(-1, 1),
        st.floats(0.01, 1),
    ),
    max_size=12,
)


def cost(coefficients, given_rows):
    """What ridge regression makes as small as it can."""
    misses = [
        weight * (residual - sum(coefficients.get(name, 0.0) * value for name, value in features.items())) ** 2
        for features, residual, weight in given_rows
    ]
    pulls = [(NOISE / EXPECTED[name.split(":")[0]]) ** 2 * value**2 for name, value in coefficients.items()]
    return math.fsum([*misses, *pulls])


@given(rows, st.sampled_from(NAMES), st.sampled_from([-0.1, -0.001, 0.001, 0.1]))
def test_no_other_coefficients_would_be_better(given_rows, name, step):
    found = Ridge(given_rows).coefficients
    if name in found:
        assert cost(found, given_rows) <= cost(found | {name: found[name] + step}, given_rows) + 1e-9


three = st.lists(st.floats(-3, 3), min_size=3, max_size=3)


@given(st.lists(three, min_size=3, max_size=3), three)
def test_the_equations_are_solved(matrix, right):
    square = [[sum(a * b for a, b in zip(x, y, strict=True)) + (x is y) for y in matrix] for x in matrix]
    found = solve(cholesky(square), right)
    for row, value in zip(square, right, strict=True):
        assert sum(a * b for a, b in zip(row, found, strict=True)) == pytest.approx(value, abs=1e-6)


@given(st.floats(0, 30), st.floats(0, 30))
def test_age_takes_value_away_down_to_a_floor(one, other):
    younger, older = sorted((one, other))
    assert age_factor(younger) >= age_factor(older) >= 0.08
    assert [age_factor(year) for year in range(5)] == pytest.approx(list(AGE_CURVE))


def test_without_sales_it_is_the_prior_and_says_so():
    guide = modelled_guide([], WANTED, LAUNCHES, now=NOON)
    years = (NOON - NOON.replace(year=2022, month=7, day=1, hour=0)).days / 365.25
    plain = 1_599 * age_factor(years) * 0.72 * 1.155
    assert guide.p50_micros == pytest.approx(plain * USD, rel=1e-4)
    assert guide.method == Method.HEDONIC
    assert guide.basis == (
        "a model, not a market price: based on no sale of like cards and "
        "the launch price of 1599 USD (2022), its age and its condition"
    )


def test_nothing_is_modelled_without_a_launch_price_in_the_currency():
    assert modelled_guide([], Wanted("rtx-4090-d", 49_140, "USD"), LAUNCHES, now=NOON) is None
    assert modelled_guide([], Wanted("rtx-4090-d", 49_140, "CNY"), LAUNCHES, now=NOON).p50_micros > 0
    assert modelled_guide([], Wanted("titan-rtx", 24_576, "USD"), LAUNCHES, now=NOON) is None


def sold(count, price):
    return [
        Sold(price * USD, NOON - timedelta(days=1), model_slug="rtx-4090", function_grade="F2", region="")
        for _ in range(count)
    ]


def test_few_sales_move_it_a_little_and_many_replace_it():
    none, few, many = (modelled_guide(sold(count, 3_000), WANTED, LAUNCHES, now=NOON) for count in (0, 1, 400))
    assert none.p50_micros < few.p50_micros < many.p50_micros < 3_010 * USD
    assert many.p50_micros == pytest.approx(3_000 * USD, rel=0.05)
    assert many.p75_micros - many.p50_micros < none.p75_micros - none.p50_micros + many.p50_micros
    assert (many.spread, few.spread) < (few.spread, none.spread)


def test_what_the_launch_price_of_another_currency_says_does_not_count():
    foreign = [Sold(30_000 * USD, NOON, currency="CNY") for _ in range(5)]
    assert modelled_guide(foreign, WANTED, LAUNCHES, now=NOON).sale_count == 0
