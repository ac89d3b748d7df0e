"""Fingerprints of a round, so that anyone can recompute it: SHA-256 over canonical JSON."""

from __future__ import annotations

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
            "bids": [_fields(bid) for bid in sorted(bids, key=lambda each: each.key)],
            "now": now,
            "rules": _fields(rules),
        }
    )


def output_hash(result: RoundResult) -> str:
    """64 hex digits of what a round decided."""
    return round_hash({"fills": [_fields(fill) for fill in result.fills], "unfilled": result.unfilled})


def round_hash(value: Any) -> str:
    """64 hex digits of a JSON value in which sets are sorted lists and keys are in order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=sorted)
    return hashlib.sha256(text.encode()).hexdigest()


def _ask(ask: Ask) -> dict[str, Any]:
    slots = sorted(ask.slots, key=lambda slot: slot.card)
    return _fields(ask) | {"slots": [_fields(slot) for slot in slots]}


def _fields(value: Any) -> dict[str, Any]:
    """The fields by name; not `asdict`, whose deep copies cost more than the round itself."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
