"""What the card book shows to everybody: prices and numbers, no names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from listings.cards.states import FUNCTION_GRADES
from marketplace.book.selectors import last_sale
from marketplace.common.api import money_json
from marketplace.sales.models import CardBid
from marketplace.sales.states import BidState
from marketplace.sales.supply import card_asks

NAMES = ("price", "memory_mib", "grade_function", "zone", "currency")


def card_depth(*, gpu: str, now: datetime) -> dict[str, Any]:
    """Asks cheapest first, bids dearest first, and the last sale of every kind that is in the book."""
    asks: Counter[tuple[Any, ...]] = Counter()
    for ask in card_asks(now=now):
        if ask.gpu == gpu:
            asks[ask.ask_micros, ask.memory_mib, FUNCTION_GRADES[ask.grade], ask.zone, ask.currency] += len(ask.cards)
    bids: Counter[tuple[Any, ...]] = Counter()
    for bid in CardBid.objects.filter(gpu_model__slug=gpu, state=BidState.OPEN, expires_at__gt=now):
        key = (bid.limit_micros, bid.memory_mib, bid.grade_min, bid.zone, bid.currency)
        bids[key] += bid.count - bid.filled_count
    kinds = sorted({(key[1], key[4]) for key in [*asks, *bids]})
    return {
        "gpu": gpu,
        "asks": [_row(key, count) for key, count in sorted(asks.items())],
        "bids": [_row(key, count) for key, count in sorted(bids.items(), reverse=True)],
        "last": [found for memory, currency in kinds if (found := _last(gpu, memory, currency))],
    }


def _row(key: tuple[Any, ...], count: int) -> Mapping[str, Any]:
    row = dict(zip(NAMES, key, strict=True))
    return row | {"price": money_json(key[0], key[-1]), "count": count}


def _last(gpu: str, memory_mib: int, currency: str) -> Mapping[str, Any] | None:
    sale = last_sale(gpu, memory_mib=memory_mib, currency=currency)
    if sale is None:
        return None
    return {"memory_mib": memory_mib, "price": money_json(sale.price_micros, currency), "at": sale.delivered_at}
