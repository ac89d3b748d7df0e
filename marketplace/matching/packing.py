"""How one bid is served: from one ask, or from several asks of one site at the least total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marketplace.matching.constraints import allowed_takes
from marketplace.matching.values import Ask


@dataclass(frozen=True, slots=True)
class Part:
    """What one ask would give to a bid: the cards that are free, and the price of each in micros per GPU-hour."""

    ask: Ask
    cards: tuple[int, ...]
    price_micros: int

    def first(self, count: int) -> Part:
        """The same with the first `count` cards alone."""
        return Part(self.ask, self.cards[:count], self.price_micros)


@dataclass(frozen=True, slots=True)
class Pack:
    """A way to serve a bid; each part holds exactly the cards that are taken."""

    parts: tuple[Part, ...]

    @property
    def rank(self) -> tuple[int, int, tuple[tuple[int, str], ...], tuple[tuple[int, ...], ...]]:
        """Sorts the better first: more cards, then the lower total, then the older asks, then the lower cards."""
        count = sum(len(part.cards) for part in self.parts)
        total = sum(len(part.cards) * part.price_micros for part in self.parts)
        ages = tuple(sorted(part.ask.age for part in self.parts))
        return -count, total, ages, tuple(part.cards for part in self.parts)


def cheapest_pack(parts: Sequence[Part], *, least: int, most: int) -> Pack | None:
    """Most cards in [least, most] from these parts at the least total; the cheaper, then older, ask gives more.

    A card that is in several parts counts in the cheapest, then oldest, of them.
    """
    ordered = _without_repeated_cards(sorted(parts, key=lambda part: (part.price_micros, part.ask.age)))
    costs = _suffix_costs(ordered, most)
    for wanted in range(most, max(least, 1) - 1, -1):
        if costs[0][wanted] is not None:
            return _follow(ordered, costs, wanted)
    return None


def _without_repeated_cards(parts: Sequence[Part]) -> list[Part]:
    seen: set[int] = set()
    kept = []
    for part in parts:
        cards = tuple(card for card in part.cards if card not in seen)
        seen.update(cards)
        kept.append(Part(part.ask, cards, part.price_micros))
    return kept


Costs = list[list[int | None]]


def _suffix_costs(parts: Sequence[Part], most: int) -> Costs:
    """costs[n][k]: the least total of exactly k cards from parts[n:], None when they can't give k."""
    costs: Costs = [[0] + [None] * most]
    for part in reversed(parts):
        later = costs[0]
        row = [_least(part, later, wanted)[0] for wanted in range(most + 1)]
        costs.insert(0, row)
    return costs


def _least(part: Part, later: Sequence[int | None], wanted: int) -> tuple[int | None, int]:
    """The least total of `wanted` cards and how many of them this part gives; the larger take wins a tie."""
    best, best_take = later[wanted], 0
    for take in allowed_takes(part.ask, min(wanted, len(part.cards))):
        rest = later[wanted - take]
        if rest is not None and (best is None or rest + take * part.price_micros <= best):
            best, best_take = rest + take * part.price_micros, take
    return best, best_take


def _follow(parts: Sequence[Part], costs: Costs, wanted: int) -> Pack:
    taken = []
    for number, part in enumerate(parts):
        _, take = _least(part, costs[number + 1], wanted)
        if take:
            taken.append(part.first(take))
        wanted -= take
    return Pack(tuple(taken))
