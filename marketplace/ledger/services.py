"""Posting journals: the only way money moves."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction

from marketplace.common.errors import Conflict
from marketplace.common.ids import new_id
from marketplace.ledger.models import Account, Code
from marketplace.ledger.periods import open_from

# Migration 0013. One round trip, because a posting waits for nothing but the disk: alone it is a transaction by itself.
POST = """
SELECT fallow_post(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::text[]::jsonb[],
    %s::int[], %s::bigint[], %s::bigint[])
"""


class InsufficientFunds(Conflict):
    """An account would fall below zero."""

    code = "insufficient_funds"


@dataclass(frozen=True, slots=True)
class Leg:
    """What one account gets (positive) or gives (negative)."""

    account: Account
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Posting:
    """A journal to be."""

    ref: str
    code: Code
    legs: tuple[Leg, ...]
    subject: str
    data: Mapping[str, Any]


def post_many(postings: Sequence[Posting], *, now: datetime) -> None:
    """Post many journals in one statement. Every `ref` must be new: IntegrityError otherwise, and nothing moves.

    Raises InsufficientFunds when a firm's account would fall below zero with all of them; nothing moves then either.
    """
    if not postings:
        return
    with transaction.atomic():
        posted = _post(postings, [now] * len(postings))
        if len(posted) < len(postings):
            raise IntegrityError(f"posted before: {sorted({each.ref for each in postings} - posted)}")


def post(
    *,
    ref: str,
    code: Code,
    legs: Iterable[Leg],
    now: datetime,
    subject: str = "",
    data: Mapping[str, Any] | None = None,
    happened_at: datetime | None = None,
) -> bool:
    """Move money; False when this `ref` was posted before, and nothing moves then.

    It counts for `happened_at` where that is given and its period is still open. What comes later than the close counts
    for `now`, and its data say under `happened_at` what time it belongs to.
    Raises InsufficientFunds when a firm's account would fall below zero. The legs must sum to zero in each currency:
    anything else is our own mistake, and PostgreSQL refuses it as well.
    """
    moves = tuple(leg for leg in legs if leg.amount_micros)
    if not moves:
        return False
    with transaction.atomic() if happened_at else contextlib.nullcontext():  # what is open stays so until it is posted
        at, told = _counts_for(happened_at, now)
        return ref in _post([Posting(ref, code, moves, subject, dict(data or {}) | told)], [at])


def _post(postings: Sequence[Posting], ats: Sequence[datetime]) -> set[str]:
    """The refs that were new. Firms' accounts are locked in the order of their keys until the transaction ends."""
    for each in postings:
        _assert_balanced(each.legs)
    legs = [(number, leg) for number, each in enumerate(postings, 1) for leg in each.legs]
    given: list[Any] = [
        [new_id("jrn") for _ in postings],
        [each.ref for each in postings],
        [str(each.code) for each in postings],
        list(ats),
        [each.subject for each in postings],
        [json.dumps(each.data) for each in postings],
        [number for number, _ in legs],
        [leg.account.pk for _, leg in legs],
        [leg.amount_micros for _, leg in legs],
    ]
    with connection.cursor() as cursor:
        cursor.execute(POST, given)
        (posted,) = cursor.fetchone()
    if posted is None:
        raise InsufficientFunds("there is not enough money for this")
    return set(posted)


def _counts_for(happened_at: datetime | None, now: datetime) -> tuple[datetime, dict[str, str]]:
    if happened_at is None:
        return now, {}
    assert happened_at <= now, "nothing happens in the future"
    if happened_at >= open_from():
        return happened_at, {}
    return now, {"happened_at": happened_at.isoformat()}


def _assert_balanced(legs: Iterable[Leg]) -> None:
    totals: dict[str, int] = defaultdict(int)
    for leg in legs:
        totals[leg.account.currency] += leg.amount_micros
    assert not any(totals.values()), f"a journal must sum to zero, not {dict(totals)}"
