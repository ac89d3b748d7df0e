"""Cards that report different numbers are of one kind; a card with other memory is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listings.cards.memory import nominal_mib


@pytest.mark.parametrize(
    ("reported", "sizes", "nominal"),
    [
        (24_564, [24_576], 24_576),
        (23_034, [24_576], 24_576),  # ECC takes its share of it
        (49_140, [24_576], 49_152),
        (22_528, [11_264], 22_528),
        (81_559, [81_920], 81_920),
        (40_536, [40_960, 81_920], 40_960),
        (16_000, [], 16_384),
    ],
)
def test_what_is_reported_is_what_is_on_the_box(reported, sizes, nominal):
    assert nominal_mib(reported, sizes) == nominal


@given(st.integers(1, 10**6), st.lists(st.integers(1, 10**6), max_size=4))
def test_what_is_on_the_box_stays_what_it_is(reported, sizes):
    once = nominal_mib(reported, sizes)
    assert nominal_mib(once, sizes) == once or once % 2048 == 0
