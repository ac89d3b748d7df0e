"""An ordinary ask and bid that fit each other; tests change what they are about."""

from dataclasses import replace

from marketplace.matching.values import Ask, Bid, Slot

NOW = 1_800_000_000
HOUR = 3_600
DAY = 24 * HOUR

ASK = Ask(
    key="ask1",
    seq=1,
    seller="seller",
    listing="clst_1",
    node="node_1",
    site="site_1",
    region="eu-west",
    country="FR",
    currency="USD",
    gpu="h100-sxm",
    memory_mib=81_559,
    slots=tuple(Slot(card, ((NOW - HOUR, NOW + 30 * DAY),)) for card in (11, 12)),
    price_micros=400_000,
    window=(NOW - HOUR, NOW + 30 * DAY),
    min_seconds=60,
    max_seconds=7 * DAY,
)
BID = Bid(
    key="bid1",
    seq=2,
    buyer="buyer",
    models=frozenset({"h100-sxm"}),
    count=1,
    duration_seconds=10 * HOUR,
    cap_micros=500_000,
    currency="USD",
    is_new=True,
)


def ask(**changes):
    """ASK with changes; `cards=(…)` gives it other cards, free from an hour ago for thirty days."""
    if "cards" in changes:
        changes["slots"] = tuple(Slot(card, ((NOW - HOUR, NOW + 30 * DAY),)) for card in changes.pop("cards"))
    return replace(ASK, **changes)


def bid(**changes):
    """BID with changes."""
    return replace(BID, **changes)
