"""The asks of a round and what is left of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from marketplace.matching.calendar import Calendar
from marketplace.matching.constraints import in_window, is_compatible, largest_take
from marketplace.matching.values import Ask, Bid, Interval, Rules


class Supply:
    """Asks by (currency, model), cheapest first, with the calendar of their cards at epoch second `now`.

    Raises ValueError when an ask's key, or a card within an ask, comes twice.
    """

    __slots__ = ("_asks_of_card", "_buckets", "_calendar", "_later", "_now", "now", "rules")

    def __init__(self, asks: Sequence[Ask], *, now: int, rules: Rules) -> None:
        refuse_repeats(ask.key for ask in asks)
        self.now = now
        self.rules = rules
        self._calendar = Calendar()
        self._buckets: defaultdict[tuple[str, str], list[Ask]] = defaultdict(list)
        self._asks_of_card: defaultdict[int, list[Ask]] = defaultdict(list)
        # What was found out of each ask since its cards were last touched: most are never looked at.
        self._now: dict[str, bool] = {}
        self._later: dict[str, bool] = {}
        for ask in sorted(asks, key=lambda each: (each.price_micros, each.age)):
            self._add(with_sorted_slots(ask))

    def by_price(self, bid: Bid, gpu: str) -> Iterator[Ask]:
        """Asks of one model in the bid's currency that may have something for its start, by (price, age)."""
        serves = self._serves_now if self._starts_now(bid) else self._serves_later
        return (ask for ask in self._buckets.get((bid.currency, gpu), ()) if serves(ask))

    def within_cap(self, bid: Bid) -> Iterator[Ask]:
        """Compatible asks at or below the bid's cap."""
        for gpu in sorted(bid.models):
            for ask in self.by_price(bid, gpu):
                if ask.price_micros > bid.cap_micros:
                    break
                if is_compatible(bid, ask):
                    yield ask

    def free_cards(self, bid: Bid, ask: Ask, *, least: int, most: int) -> tuple[int, ...]:
        """Up to `most` cards that are free for the bid's whole claim, lowest first; none when `least` can't be had."""
        claim = bid.claim(now=self.now, rules=self.rules)
        possible = in_window(ask, claim) and largest_take(ask, least=least, most=min(bid.count, len(ask.slots)))
        if not possible or claim[0] < self.now:
            return ()
        cards = self._calendar.free_cards(ask, claim, idle_only=self._starts_now(bid), most=most)
        return cards if largest_take(ask, least=least, most=len(cards)) else ()

    def take(self, cards: Iterable[int], claim: Interval) -> None:
        """Claim cards; what was known of the asks that have them is forgotten."""
        cards = tuple(cards)
        self._calendar.take(cards, claim)
        for ask in (ask for card in cards for ask in self._asks_of_card[card]):
            self._now.pop(ask.key, None)
            self._later.pop(ask.key, None)

    def _add(self, ask: Ask) -> None:
        refuse_repeats(slot.card for slot in ask.slots)
        self._buckets[ask.currency, ask.gpu].append(ask)
        for slot in ask.slots:
            self._asks_of_card[slot.card].append(ask)

    def _serves_now(self, ask: Ask) -> bool:
        """Whether a card of it could serve its shortest lease from now on."""
        if ask.key not in self._now:
            claim = self.now, self.now + ask.min_seconds + self.rules.overhead_seconds
            self._now[ask.key] = bool(self._calendar.free_cards(ask, claim, idle_only=True, most=1))
        return self._now[ask.key]

    def _serves_later(self, ask: Ask) -> bool:
        """Whether a card of it could serve its shortest lease at some time in its window."""
        if ask.key not in self._later:
            shortest = ask.min_seconds + self.rules.overhead_seconds
            ahead = max(self.now, ask.window[0]), ask.window[1]
            self._later[ask.key] = any(self._calendar.longest_gap(slot, ahead) >= shortest for slot in ask.slots)
        return self._later[ask.key]

    def _starts_now(self, bid: Bid) -> bool:
        return bid.start is None or bid.start <= self.now


def with_sorted_slots(ask: Ask) -> Ask:
    """The same ask whatever the order in which its cards came."""
    slots = tuple(sorted(ask.slots, key=lambda slot: slot.card))
    return ask if slots == ask.slots else replace(ask, slots=slots)


def refuse_repeats(keys: Iterable[str] | Iterable[int]) -> None:
    """Raises ValueError when a key comes twice."""
    seen: set[str | int] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{key!r} comes twice")
        seen.add(key)
