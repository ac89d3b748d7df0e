"""Fingerprints of a round, so that anyone can recompute it: SHA-256 over canonical JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from marketplace.matching.supply import with_sorted_slots
from marketplace.matching.values import DEFAULT_RULES, Ask, Bid, RoundResult, Rules


def input_hash(*, bids: Sequence[Bid], asks: Sequence[Ask], now: int, rules: Rules = DEFAULT_RULES) -> str:
    """64 hex digits of what a round was given, whatever the order of its rows."""
    return round_hash(
        {
            "asks": [with_sorted_slots(ask) for ask in sorted(asks, key=lambda each: each.key)],
            "bids": sorted(bids, key=lambda each: each.key),
            "now": now,
            "rules": rules,
        }
    )


def output_hash(result: RoundResult) -> str:
    """64 hex digits of what a round decided."""
    return round_hash({"fills": result.fills, "unfilled": result.unfilled})


def round_hash(value: Any) -> str:
    """64 hex digits of a JSON value in which sets are sorted lists and keys are in order."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
