"""What an ask must satisfy for a bid, as one table that the round and the explanation share."""

from __future__ import annotations

from collections.abc import Callable

from marketplace.matching.values import Ask, Bid, Interval

Check = Callable[[Bid, Ask], bool]

STATIC_CHECKS: dict[str, Check] = {
    "currency": lambda bid, ask: ask.currency == bid.currency,
    "model": lambda bid, ask: ask.gpu in bid.models,
    "own_listing": lambda bid, ask: ask.seller != bid.buyer,
    "listing": lambda bid, ask: bid.pinned_listing in (None, ask.listing),
    "node": lambda bid, ask: bid.pinned_node in (None, ask.node),
    "excluded_node": lambda bid, ask: ask.node not in bid.exclude_nodes,
    "interruptible": lambda bid, ask: bid.interruptible or not ask.interruptible,
    "region": lambda bid, ask: not bid.regions or ask.region in bid.regions,
    "country": lambda bid, ask: not bid.countries or ask.country in bid.countries,
    "memory": lambda bid, ask: ask.memory_mib >= bid.min_memory_mib,
    "exact_memory": lambda bid, ask: bid.pinned_memory_mib in (None, ask.memory_mib),
    "tier": lambda bid, ask: ask.tier >= bid.min_tier,
    "reliability": lambda bid, ask: _is_reliable(bid.min_reliability_basis_points, ask.reliability_basis_points),
    "duration": lambda bid, ask: ask.min_seconds <= bid.duration_seconds <= ask.max_seconds,
}
"""Everything but price, window and cards: it does not change while a round runs."""

_CHECKS = tuple(STATIC_CHECKS.values())


def is_compatible(bid: Bid, ask: Ask) -> bool:
    """Whether the ask is of the kind that the bid wants, price, window and free cards aside."""
    return all(check(bid, ask) for check in _CHECKS)


def in_window(ask: Ask, claim: Interval) -> bool:
    """Whether the whole claim lies in the ask's window."""
    return ask.window[0] <= claim[0] and claim[1] <= ask.window[1]


def largest_take(ask: Ask, *, least: int, most: int) -> int:
    """The most cards in [least, most] that the ask gives in one take, 0 when none."""
    if ask.counts is None:
        return most if most >= max(least, 1) else 0
    return max((count for count in ask.counts if max(least, 1) <= count <= most), default=0)


def allowed_takes(ask: Ask, most: int) -> tuple[int, ...]:
    """Every number of cards up to `most` that the ask gives in one take, ascending."""
    if ask.counts is None:
        return tuple(range(1, most + 1))
    return tuple(sorted(count for count in ask.counts if 1 <= count <= most))


def _is_reliable(wanted: int | None, known: int | None) -> bool:
    return wanted is None or (known is not None and known >= wanted)
