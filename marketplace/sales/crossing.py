"""The book of cards. Pure: bids and asks in, fills out; each fill names one card.

A bid's limit is all in: item, shipping and tax. Bids come by (limit high to low, older first). Each takes, among the
asks that fit it, the one at which it pays least, then the older; the older side's price is the price. A bid for several
cards takes what there is and rests with the others, unless it is `whole`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from marketplace.sales.pricing import Landed, TaxRate, highest_item_micros, landed

ANY_ZONE = ""


@dataclass(frozen=True, slots=True)
class CardAsk:
    """Cards of one listing. `grade` is its place among the grades, 0 the best; `age` orders both sides of the book."""

    key: str
    firm: int
    gpu: str
    memory_mib: int
    grade: int
    zone: str
    country: str
    currency: str
    ask_micros: int
    shipping_micros: int
    shipping_abroad_micros: int | None
    ships_to: frozenset[str]
    cards: tuple[int, ...]  # in the order in which they are sold: what ships first, first
    age: int


@dataclass(frozen=True, slots=True)
class Bid:
    """Wants `count` cards. `listing` and `card` pin it; a pinned bid pays the ask, and rent may count towards it."""

    key: str
    firm: int
    gpu: str
    memory_mib: int
    grade_at_most: int
    zone: str
    currency: str
    ships_to: str
    limit_micros: int
    count: int
    age: int
    listing: str = ""
    card: int | None = None
    whole: bool = False
    rent_credit_micros: int = 0


@dataclass(frozen=True, slots=True)
class Fill:
    """One card changes hands at this price."""

    bid: str
    ask: str
    card: int
    price: Landed


def cross(
    *, bids: Sequence[Bid], asks: Sequence[CardAsk], tax: TaxRate, forbidden: Collection[tuple[str, str]] = ()
) -> list[Fill]:
    """Every fill that the rules of this module ask for; pairs in `forbidden` never meet."""
    left = {ask.key: list(ask.cards) for ask in asks}
    fills: list[Fill] = []
    for bid in sorted(bids, key=lambda each: (-each.limit_micros, each.age, each.key)):
        priced = [
            (price.total_micros, ask.age, ask.key, ask, price)
            for ask in asks
            if (bid.key, ask.key) not in forbidden and (price := price_of(bid, ask, tax))
        ]
        taken = _take(bid, [(ask, price) for *_, ask, price in sorted(priced, key=lambda each: each[:3])], left)
        for fill in taken:
            left[fill.ask].remove(fill.card)
        fills += taken
    return fills


def price_of(bid: Bid, ask: CardAsk, tax: TaxRate) -> Landed | None:
    """What one of these cards costs this bidder, or None when the two do not fit."""
    shipping = shipping_to(ask, bid.ships_to)
    if shipping is None or not _fits(bid, ask):
        return None
    rate = tax(ask.country, bid.ships_to)
    asked = landed(
        item_micros=ask.ask_micros,
        shipping_micros=shipping,
        tax_basis_points=rate,
        rent_credit_micros=bid.rent_credit_micros,
    )
    if asked.total_micros > bid.limit_micros:
        return None
    if bid.listing or bid.age >= ask.age:
        return asked
    item = highest_item_micros(limit_micros=bid.limit_micros, shipping_micros=shipping, tax_basis_points=rate)
    return landed(item_micros=item, shipping_micros=shipping, tax_basis_points=rate)


def shipping_to(ask: CardAsk, country: str) -> int | None:
    """What it costs to ship there, or None when it does not ship there."""
    if ask.ships_to and country not in ask.ships_to:
        return None
    return ask.shipping_micros if country == ask.country else ask.shipping_abroad_micros


def _fits(bid: Bid, ask: CardAsk) -> bool:
    return (
        bid.firm != ask.firm
        and (bid.gpu, bid.memory_mib, bid.currency) == (ask.gpu, ask.memory_mib, ask.currency)
        and ask.grade <= bid.grade_at_most
        and bid.zone in (ANY_ZONE, ask.zone)
        and bid.listing in ("", ask.key)
        and (bid.card is None or bid.card in ask.cards)
    )


def _take(bid: Bid, priced: Sequence[tuple[CardAsk, Landed]], left: dict[str, list[int]]) -> list[Fill]:
    found = [
        Fill(bid.key, ask.key, card, price)
        for ask, price in priced
        for card in left[ask.key]
        if bid.card is None or card == bid.card
    ]
    return [] if bid.whole and len(found) < bid.count else found[: bid.count]
