from __future__ import annotations

import pytest

from nodes.agent.workloads.shares import Share, share_of


@pytest.mark.parametrize(
    ("host", "cards", "of", "share"),
    [
        (Share(64_000, 512 * 1024), 2, 8, Share(14_400, 117_965)),
        (Share(8_000, 16 * 1024), 1, 1, Share(7_000, 14 * 1024)),
        (Share(1_000, 2 * 1024), 1, 4, Share(500, 512)),
        (Share(8_000, 16 * 1024), 2, 0, Share(7_000, 14 * 1024)),
    ],
    ids=["a quarter", "the whole", "too small", "cards not yet counted"],
)
def test_a_lease_gets_its_cards_part_of_what_the_reserve_leaves(host: Share, cards: int, of: int, share: Share) -> None:
    assert share_of(host, cards, of) == share
