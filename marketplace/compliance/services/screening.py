"""The screening list: importing it, asking it about firms, remembering what a person found."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import transaction

from marketplace.accounts.models import Firm, User
from marketplace.common.errors import Conflict, NotFound
from marketplace.compliance.inquiry import ListState, Match, Screening
from marketplace.compliance.listfile import read_list
from marketplace.compliance.models import MatchReview, ScreeningEntry, ScreeningList
from marketplace.compliance.screening import ListedParty, ListIndex
from marketplace.compliance.selectors import current_list, reviews_of
from marketplace.compliance.services.ruling import REASON_LENGTH_MAX, check_operator, check_text
from marketplace.events.services import record_event

SHRUNK_BELOW_PERCENT = 50
ROWS_AT_ONCE = 2000


@transaction.atomic
def import_list(
    *,
    text: str,
    file_name: str,
    published_on: date,
    actor: str,
    now: datetime,
    may_shrink: bool = False,
    may_be_older: bool = False,
) -> ScreeningList:
    """Replace the list. Raises ListFileError, and Conflict for one that is older or lost half of its entries.

    Then the list stays as it was: one that was cut off on its way would let everybody pass who stood behind the cut,
    and last month's all who were listed since.
    """
    parties = read_list(text)
    before = current_list()
    if before and not may_be_older and published_on < before.published_on:
        raise Conflict(f"it is of {published_on}, the list in force of {before.published_on}", code="list_older")
    if before and not may_shrink and len(parties) * 100 < before.entries_count * SHRUNK_BELOW_PERCENT:
        raise Conflict(f"{len(parties)} entries, {before.entries_count} before: is the file whole?", code="list_shrunk")
    made = ScreeningList.objects.create(
        file_name=file_name[-200:],
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        entries_count=len(parties),
        published_on=published_on,
        imported_at=now,
        imported_by=actor,
    )
    ScreeningEntry.objects.exclude(screening_list=made).delete()
    ScreeningEntry.objects.bulk_create((_entry(made, party) for party in parties), batch_size=ROWS_AT_ONCE)
    record_event(
        firm_id=None,
        type="compliance.list_imported",
        subject=made.public_id,
        actor=actor,
        data={"entries": made.entries_count, "published_on": published_on.isoformat(), "sha256": made.sha256},
        now=now,
    )
    return made


def screen(firms: Iterable[Firm], *, now: datetime) -> Screening:
    """What the list says of the firms and their ultimate parents."""
    newest = current_list()
    if newest is None:
        return Screening(ListState.MISSING)
    found = [match for firm in firms for match in _matches(firm, newest)]
    return Screening(state_of(newest, now), newest.public_id, tuple(found))


def state_of(newest: ScreeningList | None, now: datetime) -> ListState:
    """Whether the list may be relied on."""
    if newest is None:
        return ListState.MISSING
    return ListState.STALE if age_days(newest, now) > settings.SCREENING_LIST_DAYS_MAX else ListState.FRESH


def age_days(screening_list: ScreeningList, now: datetime) -> int:
    """Days since the list was published."""
    return max((now.astimezone(UTC).date() - screening_list.published_on) // timedelta(days=1), 0)


@transaction.atomic
def review_match(
    *, firm: Firm, entry: str, is_same: bool, reason: str, operator: User, now: datetime
) -> tuple[MatchReview, ...]:
    """A person compared the firm with a list entry that it is similar to. False matches hold nothing from now on.

    The firm and its parent may both be similar to the entry, each is remembered. Raises NotAllowed, Invalid, NotFound.
    """
    check_operator(operator)
    check_text("/reason", reason, REASON_LENGTH_MAX)
    newest = current_list()
    similar = [match for match in _raw_matches(firm, newest) if match.entry == entry] if newest else []
    if not similar:
        raise NotFound("this firm is not similar to that entry")
    if not is_same and any(match.is_exact for match in similar):
        raise Conflict("the name is exactly the listed one: a person can't call it another party", code="exact_match")
    return tuple(_remember(firm, match, is_same, reason.strip(), operator, now) for match in similar)


def _remember(firm: Firm, match: Match, is_same: bool, reason: str, operator: User, now: datetime) -> MatchReview:
    review = MatchReview.objects.create(
        firm=firm,
        name=match.name,
        entry=match.entry,
        digest=match.digest,
        listed_name=match.listed_name[:400],
        is_same=is_same,
        reason=reason,
        reviewed_by=operator,
        at=now,
    )
    record_event(
        firm_id=None,
        type="compliance.match_reviewed",
        subject=review.public_id,
        actor=operator.public_id,
        reason="same_party" if is_same else "false_match",
        data={"firm": firm.public_id, "entry": match.entry, "name": match.name},
        now=now,
    )
    return review


def _matches(firm: Firm, newest: ScreeningList) -> list[Match]:
    """Without those that a person found false; what he found to be the same party is exact."""
    raw = _raw_matches(firm, newest)
    reviews = {(each.entry, each.digest, each.name): each.is_same for each in reviews_of(firm)} if raw else {}
    kept = []
    for match in raw:
        is_same = reviews.get((match.entry, match.digest, match.name))
        if match.is_exact or is_same is None:
            kept.append(match)
        elif is_same:
            kept.append(replace(match, is_exact=True))
    return kept


def _raw_matches(firm: Firm, newest: ScreeningList) -> list[Match]:
    names = [("firm", firm.name), ("parent", firm.ultimate_parent)]
    index = _index(newest.pk, newest.entries_count)
    return [
        Match(
            firm=firm.public_id,
            role=role,
            name=name,
            entry=found.party.key,
            digest=found.party.digest,
            source=found.party.source,
            listed_name=found.listed_name,
            score=found.score,
            is_exact=found.is_exact,
        )
        for role, name in names
        if name.strip()
        for found in index.find(name, score_min=settings.SCREENING_SCORE_MIN)
    ]


@functools.lru_cache(maxsize=1)
def _index(list_pk: int, entries_count: int) -> ListIndex:
    """The list in memory. Raises Conflict when it was replaced while it was read: a part of it must not be asked."""
    entries = ScreeningEntry.objects.filter(screening_list_id=list_pk).order_by("pk")
    parties = [ListedParty(each.key, each.source, tuple(each.names)) for each in entries.iterator()]
    if len(parties) != entries_count:
        raise Conflict("the screening list has just been replaced: ask again", code="list_replaced")
    return ListIndex(parties)


def _entry(made: ScreeningList, party: ListedParty) -> ScreeningEntry:
    return ScreeningEntry(
        screening_list=made, key=party.key, source=party.source, names=list(party.names), digest=party.digest
    )
