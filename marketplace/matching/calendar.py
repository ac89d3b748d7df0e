"""Which cards are still free while a round runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from marketplace.matching.values import Ask, Interval, Slot


class Calendar:
    """The claims that a round has made so far, by card; a card in several asks is taken in all of them."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: defaultdict[int, list[Interval]] = defaultdict(list)

    def take(self, cards: Iterable[int], claim: Interval) -> None:
        """Claim the cards; the caller has seen that they are free."""
        for card in cards:
            self._taken[card].append(claim)

    def free_cards(self, ask: Ask, claim: Interval, *, idle_only: bool, most: int) -> tuple[int, ...]:
        """Up to `most` cards of the ask that are free for the whole claim, lowest card first."""
        found: list[int] = []
        for slot in ask.slots:
            if (slot.idle or not idle_only) and self.is_free(slot, claim):
                found.append(slot.card)
                if len(found) == most:
                    break
        return tuple(found)

    def is_free(self, slot: Slot, claim: Interval) -> bool:
        """Whether one card is free for the whole claim."""
        start, end = claim
        if not any(since <= start and end <= until for since, until in slot.free):
            return False
        taken = self._taken.get(slot.card)
        return taken is None or all(end <= since or until <= start for since, until in taken)

    def longest_gap(self, slot: Slot, window: Interval) -> int:
        """Seconds of the longest time in the window in which the card is still free."""
        longest = 0
        taken = sorted(self._taken.get(slot.card, ()))
        for since, until in slot.free:
            at, last = max(since, window[0]), min(until, window[1])
            for busy_from, busy_until in taken:
                longest = max(longest, min(busy_from, last) - at)
                at = max(at, busy_until)
            longest = max(longest, last - at)
        return longest
