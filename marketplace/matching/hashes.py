"""Fingerprints of a round, so that anyone can recompute it: SHA-256 over canonical JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from marketplace.matching.values import DEFAULT_RULES, Ask, Bid, RoundResult, Rules


def input_hash(*, bids: Sequence[Bid], asks: Sequence[Ask], now: int, rules: Rules = DEFAULT_RULES) -> str:
    """64 hex digits of what a round was given, whatever the order of its rows."""
    return round_hash(
        {
            "asks": [_ask(ask) for ask in sorted(asks, key=lambda each: each.key)],
            "bids": [dataclasses.asdict(bid) for bid in sorted(bids, key=lambda each: each.key)],
            "now": now,
            "rules": dataclasses.asdict(rules),
        }
    )


def output_hash(result: RoundResult) -> str:
    """64 hex digits of what a round decided."""
    return round_hash(dataclasses.asdict(result))


def round_hash(value: Any) -> str:
    """64 hex digits of a JSON value in which sets are sorted lists and keys are in order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=sorted)
    return hashlib.sha256(text.encode()).hexdigest()


def _ask(ask: Ask) -> dict[str, Any]:
    slots = sorted(ask.slots, key=lambda slot: slot.card)
    return dataclasses.asdict(dataclasses.replace(ask, slots=tuple(slots)))
