"""The table of silences is total: whoever says nothing, every sale ends, and in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.sales.silence import (
    HELD_AT_MOST,
    SILENCES,
    Facts,
    Party,
    Step,
    add_business_days,
    deadline,
    outcome,
    step_of,
)
from marketplace.sales.states import ENDS, SALE_TRANSITIONS, SaleReason, SaleState

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
moments = st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1), timezones=st.just(UTC))
facts = st.builds(
    Facts,
    state=st.sampled_from([str(state) for state in SaleState]),
    step_at=moments,
    ship_clock_at=moments,
    **dict.fromkeys(
        (
            "is_abroad", "is_held", "is_address_asked", "by_lab", "lab_received", "lab_passed",
            "delivered", "sent_back", "came_back",
        ),
        st.booleans(),
    ),
)  # fmt: skip


def test_every_step_has_its_line_and_every_line_is_a_move_that_exists():
    assert set(SILENCES) == set(Step)
    reasons = set(SaleReason.values) | {""}
    for step, silence in SILENCES.items():
        state = state_of(step)
        assert silence.reason in reasons
        assert silence.outcome in SALE_TRANSITIONS[state], step
        assert silence.at_the_end in SALE_TRANSITIONS[state], step


def state_of(step):
    """The state whose step it is."""
    if step in (Step.TO_SHIP, Step.SHIPPING_HELD, Step.ADDRESS_ASKED):
        return "paid"
    if step in (Step.TO_LAB, Step.AT_LAB, Step.FROM_LAB, Step.TO_BUYER):
        return "shipped"
    if step in (Step.TO_SEND_BACK, Step.ON_ITS_WAY_BACK, Step.BACK):
        return "returning"
    return step.value.partition("_")[0]


@given(facts)
def test_every_sale_that_is_not_over_has_a_step_a_deadline_and_an_end_of_it(known):
    step, ends = step_of(known), deadline(known)
    if known.state in ENDS:
        assert step is None and ends is None
        return
    assert step is not None and ends is not None
    assert state_of(step) == known.state
    assert ends <= known.ship_clock_at + HELD_AT_MOST
    assert outcome(known, now=ends - timedelta(seconds=1)) is None
    follows = outcome(known, now=ends)
    assert follows.to in SALE_TRANSITIONS[known.state]


@given(facts)
def test_silence_alone_ends_every_sale_within_sixty_days_of_its_ship_clock(known):
    known = replace(known, step_at=max(known.step_at, known.ship_clock_at))
    seen = 0
    while known.state not in ENDS:
        ends = deadline(known)
        assert ends <= known.ship_clock_at + HELD_AT_MOST
        follows = outcome(known, now=max(ends, known.step_at))
        delivered = known.delivered or follows.to in {"inspecting", "received"}
        known = replace(known, state=follows.to, step_at=max(ends, known.step_at), delivered=delivered)
        seen += 1
        assert seen <= 8
    assert known.state in ENDS


@given(facts)
def test_shipped_without_proof_of_delivery_never_releases_whatever_the_carrier_says(known):
    known = replace(known, state="shipped", delivered=False)
    while known.state not in ENDS:
        ends = max(deadline(known), known.step_at)
        follows = outcome(known, now=ends)
        known = replace(known, state=follows.to, step_at=ends)
    assert known.state == "refunded"


def test_only_the_seller_who_does_not_ship_owes_a_credit():
    assert [step for step, silence in SILENCES.items() if silence.credits_buyer] == [Step.TO_SHIP]
    assert SILENCES[Step.TO_SHIP].party is Party.SELLER


def test_the_ship_clock_starts_when_the_last_lease_ends():
    known = Facts(state="paid", step_at=MONDAY, ship_clock_at=MONDAY + timedelta(days=20))
    assert deadline(known) == add_business_days(MONDAY + timedelta(days=20), 2)


@pytest.mark.parametrize(("is_abroad", "days"), [(False, 7), (True, 14)])
def test_the_time_for_inspection_is_longer_across_borders(is_abroad, days):
    known = Facts(state="inspecting", step_at=MONDAY, ship_clock_at=MONDAY, is_abroad=is_abroad)
    assert deadline(known) == MONDAY + timedelta(days=days)


@pytest.mark.parametrize(("start", "days", "end"), [(0, 2, 2), (3, 2, 7), (4, 1, 7), (5, 1, 7), (6, 2, 8), (0, 10, 14)])
def test_business_days_leave_out_the_weekend(start, days, end):
    assert add_business_days(MONDAY + timedelta(days=start), days) == MONDAY + timedelta(days=end)


def test_the_table_is_written_down_as_it_is():
    text = (Path(__file__).parents[3] / "docs" / "sales.md").read_text()
    for step, silence in SILENCES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {step} |"))
        assert f"| {silence.party} |" in row
        assert silence.reason in row and f"| {silence.outcome}" in row and row.endswith(f"| {silence.at_the_end} |")
        for number in filter(None, (silence.days, silence.days_abroad, silence.business_days)):
            assert str(number) in row
        assert ("credit" in row) == silence.credits_buyer
