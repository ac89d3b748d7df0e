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

# Migrations 0013, 0015. One round trip, because a posting waits for nothing but the disk: alone it is a transaction.
POST_ONE = "SELECT fallow_post_one(%s, %s, %s, %s, %s, %s::jsonb, %s::bigint[], %s::bigint[])"
POST_MANY = """
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
        posted = _post_many(postings, now)
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
        return _post_one(Posting(ref, code, moves, subject, dict(data or {}) | told), at)


def _post_one(posting: Posting, at: datetime) -> bool:
    """Whether the ref was new. Firms' accounts are locked in the order of their keys until the transaction ends."""
    _assert_balanced(posting.legs)
    accounts, amounts = zip(*((leg.account.pk, leg.amount_micros) for leg in posting.legs), strict=True)
    given = [
        new_id("jrn"), posting.ref, str(posting.code), at, posting.subject, json.dumps(posting.data),
        _array(accounts), _array(amounts),
    ]  # fmt: skip
    return bool(_asked(POST_ONE, given))


def _post_many(postings: Sequence[Posting], now: datetime) -> set[str]:
    """The refs that were new; locked as by one."""
    for each in postings:
        _assert_balanced(each.legs)
    legs = [(number, leg) for number, each in enumerate(postings, 1) for leg in each.legs]
    given: list[Any] = [
        [new_id("jrn") for _ in postings],
        [each.ref for each in postings],
        [str(each.code) for each in postings],
        [now] * len(postings),
        [each.subject for each in postings],
        [json.dumps(each.data) for each in postings],
        _array(number for number, _ in legs),
        _array(leg.account.pk for _, leg in legs),
        _array(leg.amount_micros for _, leg in legs),
    ]
    return set(_asked(POST_MANY, given))


def _asked(statement: str, given: Sequence[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        (posted,) = cursor.fetchone()
    if posted is None:
        raise InsufficientFunds("there is not enough money for this")
    return posted


def _array(numbers: Iterable[int]) -> str:
    """PostgreSQL's own notation: psycopg would look for a type that fits every number of a list."""
    return f"{{{','.join(map(str, numbers))}}}"


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
