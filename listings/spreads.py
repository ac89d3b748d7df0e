"""Cards of several nodes for one buyer: what `same_node: false` finds, by the rule that a round fills it with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from listings.offers import Offer
from listings.states import TIERS


def spread_offers(offers: Iterable[Offer], *, count: int) -> list[Offer]:
    """One offer for each seller, region, model, memory and currency: its cheapest `count` cards, or all it has.

    The price is that of the dearest card among them, so that a cap at this price has them all; `count` is how many
    cards there are up to that price. A site with a single part is that part itself.
    """
    sites: defaultdict[tuple[str, str, str, int, str], list[Offer]] = defaultdict(list)
    for offer in sorted(offers, key=lambda each: (each.price_micros_per_gpu_hour, *each.age)):
        sites[offer.seller, offer.region, offer.gpu, offer.memory_mib, offer.currency].append(offer)
    return [_together(_distinct(parts), count) for parts in sites.values()]


def hour_micros(offer: Offer, count: int) -> int:
    """What the cheapest `count` cards of an offer cost per hour."""
    total = 0
    for part in offer.parts or (offer,):
        taken = min(count, part.count)
        total += taken * part.price_micros_per_gpu_hour
        count -= taken
    return total


def _distinct(parts: Sequence[Offer]) -> list[Offer]:
    """Cheapest first; a card in several counts in the first, and what no common duration fits is left out."""
    seen: set[int] = set()
    shortest, longest, kept = 0, 2**63, []
    for part in parts:
        cards = tuple(card for card in part.cards if card not in seen)
        common = max(shortest, part.duration_seconds_min), min(longest, part.duration_seconds_max)
        if cards and common[0] <= common[1]:
            seen.update(cards)
            shortest, longest = common
            kept.append(replace(part, cards=cards, count=len(cards)))
    return kept


def _together(parts: Sequence[Offer], count: int) -> Offer:
    price, found = parts[0].price_micros_per_gpu_hour, 0
    for part in parts:
        if found < count:
            price = part.price_micros_per_gpu_hour
        found += part.count
    taken = tuple(part for part in parts if part.price_micros_per_gpu_hour <= price)
    first, known = taken[0], [each.reliability_basis_points for each in taken]
    if len(taken) == 1:
        return first
    return replace(
        first,
        key="/".join(sorted(each.key for each in taken)),
        parts=taken,
        node_name=f"{len({each.node for each in taken})} nodes",
        is_modified=any(each.is_modified for each in taken),
        tier=min((each.tier for each in taken), key=TIERS.index),
        country=first.country if len({each.country for each in taken}) == 1 else "",
        count=sum(each.count for each in taken),
        price_micros_per_gpu_hour=price,
        duration_seconds_min=max(each.duration_seconds_min for each in taken),
        duration_seconds_max=min(each.duration_seconds_max for each in taken),
        reclaim_notice_seconds=min(each.reclaim_notice_seconds for each in taken),
        available_until=min(each.available_until for each in taken),
        observed_at=min(each.observed_at for each in taken),
        reliability_basis_points=None if None in known else min(each for each in known if each is not None),
    )
