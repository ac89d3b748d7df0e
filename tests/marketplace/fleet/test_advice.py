"""The advice against the worked example, the story, and plain floating point."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.fleet.advice import Choice, advise, break_even, required_price
from marketplace.fleet.assumptions import KINDS, Inputs, Origin, assume, inputs_of
from marketplace.fleet.workings import workings

USD = 1_000_000
# 48 GB 4090 D: V0 4 500, d 3 %, r 1 %, s 8 %; p 0.35, f 15 %; c 0.08, PUE 1.3, 425 W and 25 W; O 5.
STORY = {
    "card_value": 4_500 * USD,
    "monthly_decline": 300,
    "money_cost": 100,
    "selling_cost": 800,
    "rent_price": 350_000,
    "platform_fee": 1_500,
    "energy_price": 80_000,
    "pue": 13_000,
    "load_watts": 425,
    "idle_watts": 25,
    "fixed_cost": 5 * USD,
    "rented_share": 2_000,
}


def inputs(**changes) -> Inputs:
    """The story's, changed."""
    return inputs_of(assume({}, STORY | changes))


def test_the_worked_example():
    dear, cheap = inputs(), inputs(card_value=2_000 * USD)
    assert advise(dear).keeping_micros == 165_600_000
    assert advise(cheap).keeping_micros == 73_600_000
    assert advise(inputs(rented_share=10_000)).margin_micros == pytest.approx((186.807 - 6.898) * USD, abs=USD / 100)
    assert round(break_even(dear) * 100) == 92
    assert round(break_even(cheap) * 100) == 43


@pytest.mark.parametrize(
    ("memory", "value", "rented", "verdict"),
    [
        ("48 GB", 4_500, 2_000, Choice.SELL_NOW),
        ("24 GB", 2_000, 2_000, Choice.SELL_NOW),
        ("48 GB", 4_500, 7_000, Choice.SELL_NOW),
        ("24 GB", 2_000, 7_000, Choice.RENT),
    ],
)
def test_the_story(memory, value, rented, verdict):
    advice = advise(inputs(card_value=value * USD, rented_share=rented))
    assert advice.verdict == verdict, memory
    assert advice.option(Choice.SELL_NOW).value_micros == value * USD * 92 // 100


def test_the_formula_is_shown_with_its_numbers():
    lines = {line.symbol: line for line in workings(inputs())}
    assert lines["R"].numbers == "(0.03 + 0.01) × 4500 × (1 − 0.08)"
    assert (lines["R"].result, lines["u*"].result) == ("165.60", "92.3 %")
    assert lines["M(u)"].numbers == (
        "730 × [0.2 × (0.35 × (1 − 0.15) − 0.08 × 1.3 × (0.425 − 0.025)) + 0 × (0.35 − 0.08 × 1.3 × (0.425 − 0.025))"
        " − 0.08 × 1.3 × 0.025] − 5"
    )
    assert lines["M(u)"].result == "30.46"
    shown = lines["M(u)"].numbers.replace("×", "*").replace("−", "-").replace("[", "(").replace("]", ")")
    assert round(eval(shown), 2) == 30.46  # what is shown can be worked out by anybody


def test_prices_that_rise_make_waiting_win_and_buying_back_dear():
    rising = advise(inputs(monthly_decline=-400, fixed_cost=0))
    assert rising.verdict in {Choice.KEEP, Choice.RENT}
    assert rising.buy_back.cost_micros > 4_500 * USD > rising.option(Choice.SELL_NOW).value_micros
    assert rising.buy_back.loss_micros == rising.buy_back.cost_micros - 4_140 * USD
    assert not rising.buy_back.is_possible
    assert advise(inputs(monthly_decline=-400, on_offer=3)).buy_back.is_possible


def test_without_prices_there_is_no_verdict_that_needs_them():
    nothing = advise(inputs_of(assume({}, {})))
    assert (nothing.verdict, nothing.options, nothing.buy_back, nothing.margin_micros) == (None, (), None, None)
    no_rent = advise(inputs_of(assume({}, {"card_value": 2_000 * USD})))
    assert no_rent.option(Choice.RENT) is None
    assert no_rent.verdict == Choice.SELL_NOW


def test_own_use_counts_as_what_it_would_cost_to_rent():
    idle, used = advise(inputs(card_value=2_000 * USD)), advise(inputs(card_value=2_000 * USD, own_share=5_000))
    assert (idle.verdict, used.verdict) == (Choice.SELL_NOW, Choice.RENT)
    assert used.break_even < idle.break_even


def test_every_assumption_has_its_default_and_where_it_comes_from():
    assert [kind.name for kind in KINDS] == [field.name for field in dataclasses.fields(Inputs)]
    assumed = assume({"rented_share": (1_234, Origin.MEASURED, "30 days")}, {"pue": 11_000})
    assert all(each.source for each in assumed.values())
    assert (assumed["pue"].origin, assumed["rented_share"].value) == (Origin.GIVEN, 1_234)
    assert assumed["card_value"].origin == Origin.MISSING
    assert assume({}, {"monthly_decline": -300})["rent_decline"].value == 0


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_card_is_used_for_more_hours_than_there_are(rented, own):
    assumed = assume({}, {"rented_share": rented, "own_share": own})
    assert assumed["rented_share"].value == rented
    assert assumed["own_share"].value == min(own, 10_000 - rented)


anything = st.fixed_dictionaries(
    {
        "card_value": st.integers(50, 30_000).map(lambda value: value * USD),
        "card_spread": st.integers(0, 4_000),
        "monthly_decline": st.integers(-800, 1_500),
        "price_swing": st.integers(0, 2_000),
        "money_cost": st.integers(0, 300),
        "selling_cost": st.integers(0, 3_000),
        "rent_price": st.integers(0, 5_000).map(lambda value: value * 1_000),
        "rent_decline": st.integers(-300, 1_000),
        "platform_fee": st.integers(0, 3_000),
        "rented_share": st.integers(0, 10_000),
        "own_share": st.integers(0, 10_000),
        "own_value": st.integers(0, 5_000).map(lambda value: value * 1_000),
        "energy_price": st.integers(0, 500_000),
        "pue": st.integers(10_000, 20_000),
        "load_watts": st.integers(100, 1_200),
        "idle_watts": st.integers(0, 99),
        "fixed_cost": st.integers(0, 100).map(lambda value: value * USD),
        "horizon_months": st.integers(1, 48),
    }
)


class Plain:
    """The same formulas in floating point, straight from the text."""

    MONEY = {"card_value", "rent_price", "own_value", "energy_price", "fixed_cost"}

    def __init__(self, values):
        for name, value in values.items():
            setattr(self, name, value / (USD if name in self.MONEY else 10_000))
        self.own_share = min(self.own_share, 1 - self.rented_share)
        self.kwh = self.energy_price * self.pue
        self.load, self.idle = values["load_watts"] / 1000, values["idle_watts"] / 1000

    def gain(self, month):
        p = self.rent_price * (1 - self.rent_decline) ** month
        return p * (1 - self.platform_fee) - self.kwh * (self.load - self.idle)

    def m(self, u, month=0):
        own = max(self.own_value - self.kwh * (self.load - self.idle), 0)
        return 730 * (u * self.gain(month) + self.own_share * own - self.kwh * self.idle) - self.fixed_cost

    def r(self):
        return (self.monthly_decline + self.money_cost) * self.card_value * (1 - self.selling_cost)

    def npv(self, u, months):
        rent = sum(self.m(u, t - 1) / (1 + self.money_cost) ** t for t in range(1, months + 1))
        sold = self.card_value * math.exp(-self.monthly_decline * months) * (1 - self.selling_cost)
        return rent + sold / (1 + self.money_cost) ** months


@given(anything)
def test_the_numbers_are_those_of_the_formulas(values):
    advice, plain = advise(inputs(**values)), Plain(values)
    u = plain.rented_share if plain.gain(0) > 0 else 0
    for option in advice.options:
        rented = 0 if option.choice == Choice.KEEP else u
        assert option.value_micros == pytest.approx(plain.npv(rented, option.months) * USD, rel=1e-6, abs=20_000)
        assert option.p10_micros <= option.value_micros <= option.p90_micros
        assert all(isinstance(each, int) for each in (option.p10_micros, option.value_micros))
    assert advice.keeping_micros == pytest.approx(plain.r() * USD, abs=20_000)
    assert advice.margin_micros == pytest.approx(plain.m(plain.rented_share) * USD, abs=20_000)
    best = max(option.value_micros for option in advice.options)
    assert advice.option(advice.verdict).value_micros == best


@given(anything, st.integers(0, 9_000), st.integers(0, 50), st.integers(0, 50))
def test_ranges_and_the_way_back_are_those_of_the_formulas(values, buying_cost, sold, offered):
    given_inputs = inputs(**values, buying_cost=buying_cost, sold_30_days=sold, on_offer=offered)
    advice, plain = advise(given_inputs), Plain(values)
    for option in advice.options:
        rented = 0 if option.choice == Choice.KEEP or plain.gain(0) <= 0 else plain.rented_share
        swing = 1.2816 * math.sqrt(plain.card_spread**2 + plain.price_swing**2 * option.months)
        earned = sum(plain.m(rented, t) / (1 + plain.money_cost) ** (t + 1) for t in range(option.months))
        sold_for = plain.npv(rented, option.months) - earned
        for told, sign in ((option.p10_micros, -1), (option.p90_micros, 1)):
            assert told == pytest.approx((earned + sold_for * math.exp(sign * swing)) * USD, rel=1e-6, abs=20_000)
    back, swing = advice.buy_back, 1.2816 * plain.price_swing * math.sqrt(6)
    cost = plain.card_value * math.exp(-6 * plain.monthly_decline) * (1 + buying_cost / 10_000)
    assert back.cost_micros == pytest.approx(cost * USD, rel=1e-6, abs=20_000)
    assert back.p10_micros == pytest.approx(cost * math.exp(-swing) * USD, rel=1e-6, abs=20_000)
    assert back.p90_micros == pytest.approx(cost * math.exp(swing) * USD, rel=1e-6, abs=20_000)
    loss = cost - plain.card_value * (1 - plain.selling_cost)
    assert back.loss_micros == pytest.approx(loss * USD, rel=1e-6, abs=30_000)
    assert back.is_possible is (sold + offered > 0)


@given(anything, st.integers(1, 3_000))
def test_who_sells_while_prices_rise_pays_more_to_come_back_than_selling_brings(values, rise):
    advice = advise(inputs(**values | {"monthly_decline": -rise}))
    assert advice.buy_back.loss_micros >= 0
    if rise > values["money_cost"] + 60 and not values["fixed_cost"] and not values["idle_watts"]:
        assert advice.verdict != Choice.SELL_NOW  # value that grows faster than money costs is not sold


@given(anything)
def test_at_break_even_a_month_of_renting_is_worth_a_month_of_keeping(values):
    found, plain = break_even(inputs(**values)), Plain(values)
    assert (found is None) == (plain.gain(0) <= 1e-12)
    if found is not None and abs(found) < 1_000:
        assert plain.m(float(found)) == pytest.approx(plain.r(), rel=1e-6, abs=1e-4)


@given(anything, st.integers(0, 10_000))
def test_a_busier_card_is_never_told_to_be_sold_sooner(values, other):
    low, high = sorted((values["rented_share"], other))
    sooner, later = (advise(inputs(**values | {"rented_share": share})) for share in (low, high))
    if sooner.verdict == Choice.RENT:
        assert later.verdict == Choice.RENT or values["rent_decline"] > 0


@given(anything)
def test_at_the_required_price_the_present_share_is_the_break_even(values):
    found = required_price(inputs(**values))
    assert (found is None) == (values["rented_share"] == 0)
    if found is not None:
        plain = Plain(values)
        plain.rent_price = float(found)
        assert plain.m(plain.rented_share) == pytest.approx(plain.r(), rel=1e-6, abs=1e-4)
        shown = advise(inputs(**values)).required_price_micros
        assert shown == pytest.approx(float(found) * USD, abs=501)
