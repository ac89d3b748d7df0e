"""Robust statistics of prices. Pure: integer micros in and out; only weights are fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

DEVIATIONS_MAX = 3.5
DEVIATION_MIN = 0.01
Value = TypeVar("Value", int, float)


def weighted_quantile(values: Sequence[tuple[Value, float]], share: float) -> Value:
    """The smallest value at or below which at least `share` of the weight lies: one that really occurred."""
    ordered = sorted(values)
    wanted = share * math.fsum(weight for _, weight in ordered)
    passed: list[float] = []
    for value, weight in ordered:
        passed.append(weight)
        if math.fsum(passed) >= wanted * (1 - 1e-12):
            return value
    return ordered[-1][0]


def effective_count(weights: Sequence[float]) -> float:
    """How many equally heavy values would say as much: (Σw)² / Σw²; 0 for none."""
    squares = math.fsum(weight * weight for weight in weights)
    return math.fsum(weights) ** 2 / squares if squares else 0.0


def within_deviations(prices: Sequence[tuple[int, float]], deviations: float = DEVIATIONS_MAX) -> tuple[bool, ...]:
    """Which prices lie within so many median absolute deviations of the median, on a logarithmic scale.

    Median and deviation are weighted: after a move of the market the old prices are the odd ones, not the new.
    When more than half of the weight has one price the deviation is 0, and only what equals the median would be left;
    then a hundredth counts as the deviation, so that a price a few percent away is not thrown out.
    """
    if not prices:
        return ()
    middle = math.log(weighted_quantile(prices, 0.5))
    distances = [(abs(math.log(price) - middle), weight) for price, weight in prices]
    limit = deviations * max(weighted_quantile(distances, 0.5), DEVIATION_MIN)
    return tuple(distance <= limit * (1 + 1e-12) for distance, _ in distances)
