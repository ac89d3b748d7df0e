"""One round of the market for hours, as a function of values: no database, no clock, the same answer for any order
of its inputs.

The rules are those of the public rule book: bids are served by (firm before interruptible, cap high to low, older
first); each takes what makes it pay least, then the older ask; the older side's price is the price, and when both are
new it is the midpoint, rounded down to the tick. A claim covers start deadline, paid seconds and turnaround.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from marketplace.matching.constraints import is_compatible, largest_take
from marketplace.matching.packing import Pack, Part, cheapest_pack
from marketplace.matching.supply import Supply, refuse_repeats
from marketplace.matching.values import DEFAULT_RULES, Ask, Bid, Fill, RoundResult, Rules


def clear(*, bids: Sequence[Bid], asks: Sequence[Ask], now: int, rules: Rules = DEFAULT_RULES) -> RoundResult:
    """Match a round at epoch second `now`. Raises ValueError when a key, or a card within an ask, comes twice."""
    refuse_repeats(bid.key for bid in bids)
    supply = Supply(asks, now=now, rules=rules)
    fills: list[Fill] = []
    unfilled: list[str] = []
    for bid in sorted(bids, key=lambda each: each.priority):
        pack = best_pack(bid, supply)
        if pack is None:
            unfilled.append(bid.key)
        else:
            fills += _take(bid, pack, supply)
    return RoundResult(tuple(fills), tuple(unfilled))


def matches(*, bid: Bid, asks: Sequence[Ask], now: int, rules: Rules = DEFAULT_RULES) -> int:
    """How many asks could serve the bid, or give a part of it when it may be spread, at this moment."""
    supply = Supply(asks, now=now, rules=rules)
    return sum(_part(bid, ask, supply) is not None for ask in supply.within_cap(bid))


def pair_price(bid: Bid, ask: Ask, rules: Rules = DEFAULT_RULES) -> int:
    """Micros per GPU-hour that the bid pays for this ask, which is within its cap."""
    if bid.is_new and ask.is_new:
        midpoint = (bid.cap_micros + ask.price_micros) // 2
        return max(ask.price_micros, midpoint - midpoint % rules.tick_micros)
    bid_is_older = (bid.is_new, bid.seq) < (ask.is_new, ask.seq)
    return bid.cap_micros if bid_is_older else ask.price_micros


def best_pack(bid: Bid, supply: Supply) -> Pack | None:
    """The best way to serve one bid from what is left, None when there is none."""
    return _best_ask(bid, supply) if bid.same_node else _best_site(bid, supply)


def _best_ask(bid: Bid, supply: Supply) -> Pack | None:
    best: Pack | None = None
    for gpu in sorted(bid.models):
        for ask in supply.by_price(bid, gpu):
            if ask.price_micros > _worth_looking(bid, best):
                break
            part = _part(bid, ask, supply) if is_compatible(bid, ask) else None
            if part is not None and (best is None or Pack((part,)).rank < best.rank):
                best = Pack((part,))
    return best


def _worth_looking(bid: Bid, best: Pack | None) -> int:
    """The highest ask that can still be better: nobody pays less than the ask."""
    if best is None or len(best.parts[0].cards) < bid.count:
        return bid.cap_micros
    return best.parts[0].price_micros


def _best_site(bid: Bid, supply: Supply) -> Pack | None:
    sites: defaultdict[tuple[str, str, str, int], list[Part]] = defaultdict(list)
    for ask in supply.within_cap(bid):
        part = _part(bid, ask, supply)
        if part is not None:
            sites[ask.seller, ask.site, ask.gpu, ask.memory_mib].append(part)
    packs = (pack for parts in sites.values() for pack in _site_packs(bid, parts))
    return min(packs, key=lambda pack: pack.rank, default=None)


def _site_packs(bid: Bid, parts: Sequence[Part]) -> Iterator[Pack]:
    together = cheapest_pack(parts, least=bid.least_count, most=bid.count)
    if together is not None:
        yield together
    for part in parts:  # alone too: together, a card that is listed twice counts only once
        take = largest_take(part.ask, least=bid.least_count, most=min(bid.count, len(part.cards)))
        if take:
            yield Pack((part.first(take),))


def _part(bid: Bid, ask: Ask, supply: Supply) -> Part | None:
    """What the ask can give: for a bid on one node the cards it would take, for a spread one all that are free."""
    if not bid.same_node:
        cards = supply.free_cards(bid, ask, least=1, most=len(ask.slots))
    else:
        cards = supply.free_cards(bid, ask, least=bid.least_count, most=bid.count)
        cards = cards[: largest_take(ask, least=bid.least_count, most=len(cards))]
    return Part(ask, cards, pair_price(bid, ask, supply.rules)) if cards else None


def _take(bid: Bid, pack: Pack, supply: Supply) -> list[Fill]:
    claim = bid.claim(now=supply.now, rules=supply.rules)
    for part in pack.parts:
        supply.take(part.cards, claim)
    return [Fill(bid.key, part.ask.key, part.cards, part.price_micros, *claim) for part in pack.parts]
