"""What is written on the box: drivers report a little less than a card has, and less again with ECC. Pure.

The book of cards is kept by this number, or a bid for 24 GiB would never meet a card that reports 24 564 MiB.
"""

from __future__ import annotations

from collections.abc import Collection

WITHIN_PERMILLE = 80  # of a size that the model is made with
STEP_MIB = 2048  # memory that was soldered on comes in such steps


def nominal_mib(reported_mib: int, sizes_mib: Collection[int]) -> int:
    """The model's own size where the report is close to one, else the nearest step."""
    nearest = min(sizes_mib, key=lambda size: abs(size - reported_mib), default=None)
    if nearest is not None and abs(nearest - reported_mib) * 1000 <= nearest * WITHIN_PERMILLE:
        return nearest
    return max(STEP_MIB, (reported_mib + STEP_MIB // 2) // STEP_MIB * STEP_MIB)
