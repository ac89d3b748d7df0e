"""Posting journals: the only way money moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from marketplace.common.errors import Conflict
from marketplace.ledger.models import Account, Code, Entry, Journal
from marketplace.ledger.periods import open_from
from marketplace.ledger.selectors import lock_accounts


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
    """A journal between the platform's own accounts, which no row lock keeps apart."""

    ref: str
    code: Code
    legs: tuple[Leg, ...]
    subject: str
    data: Mapping[str, Any]


@transaction.atomic
def post_many(postings: Sequence[Posting], *, now: datetime) -> None:
    """Post many journals in two statements. Every `ref` must be new: IntegrityError otherwise, and nothing moves."""
    assert not any(leg.account.is_running for each in postings for leg in each.legs), "firms' accounts need a lock"
    for each in postings:
        _assert_balanced(each.legs)
    open_from()  # a close of the books waits for us
    journals = Journal.objects.bulk_create(
        Journal(ref=each.ref, code=each.code, at=now, subject=each.subject, data=dict(each.data)) for each in postings
    )
    Entry.objects.bulk_create(
        Entry(journal=journal, account=leg.account, currency=leg.account.currency, amount_micros=leg.amount_micros)
        for journal, each in zip(journals, postings, strict=True)
        for leg in each.legs
    )


@transaction.atomic
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
    moves = [leg for leg in legs if leg.amount_micros]
    _assert_balanced(moves)
    if not moves:
        return False
    at, told = _counts_for(happened_at, now)
    lock_accounts(leg.account.pk for leg in moves if leg.account.is_running)
    journal, is_new = Journal.objects.get_or_create(
        ref=ref, defaults={"code": code, "at": at, "subject": subject, "data": dict(data or {}) | told}
    )
    if not is_new:
        return False
    entries = [
        Entry(journal=journal, account=leg.account, currency=leg.account.currency, amount_micros=leg.amount_micros)
        for leg in moves
    ]
    try:
        with transaction.atomic():
            Entry.objects.bulk_create(entries)
    except IntegrityError as error:
        if "account_never_negative" not in str(error):
            raise
        raise InsufficientFunds("there is not enough money for this") from error
    return True


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
