"""What a credit on the bank account is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from marketplace.payments.reference import BODY_LENGTH, is_reference

REFERENCE_LENGTH = 4 + BODY_LENGTH
_BEGIN = re.compile(r"RF\d\d")


@dataclass(frozen=True, slots=True)
class Announced:
    """A deposit as the match needs it; `is_on_statement` when a line has been booked for it."""

    currency: str
    amount_micros: int
    state: str
    is_on_statement: bool


def references_in(*texts: str) -> Iterator[str]:
    """Our references with valid check digits, wherever they were written and however banks have broken the text."""
    for text in texts:
        compact = re.sub(r"[^0-9A-Z]", "", text.upper())
        for found in _BEGIN.finditer(compact):
            candidate = compact[found.start() : found.start() + REFERENCE_LENGTH]
            if len(candidate) == REFERENCE_LENGTH and is_reference(candidate):
                yield candidate


def credit_match(amount_micros: int, currency: str, announced: Announced | None) -> str:
    """`exact`, `by_hand`, `partial`, `over`, `late` or `unknown`, as `states.Match` names them."""
    if announced is None or announced.currency != currency:
        return "unknown"
    if announced.state == "confirmed":
        if announced.is_on_statement:
            return "over"
        if amount_micros == announced.amount_micros:
            return "by_hand"
    elif announced.state != "created":
        return "late"
    elif amount_micros == announced.amount_micros:
        return "exact"
    return "over" if amount_micros > announced.amount_micros else "partial"
