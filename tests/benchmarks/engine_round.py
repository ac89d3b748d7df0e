"""How fast a round is, beside the plain oracle on the same market: python -m tests.benchmarks.engine_round [asks]

Prints rounds/s of both and their ratio, then one large round of the engine alone (the oracle would take hours).
"""

import random
import sys
import time

from marketplace.matching.engine import clear
from marketplace.matching.values import Ask, Bid, Rules, Slot
from tests.marketplace.matching.oracle import clear_plainly

RULES = Rules(start_deadline_seconds=10, turnaround_seconds=2)
NOW, SECONDS = 0, 300
MODELS = [f"model{n}" for n in range(6)]


def market(asks, bids, seed=1):
    """Asks of eight cards and bids for one to eight of them, a third of the bids for later, caps that mostly cross."""
    draw = random.Random(seed)
    made_asks = [
        Ask(
            f"ask{n}", n, f"seller{n % 50}", f"listing{n}", f"node{n}", f"site{n % 20}", draw.choice(["eu", "us"]),
            "FR", "USD", draw.choice(MODELS), 80_000, tuple(Slot(n * 8 + card, ((NOW, SECONDS),)) for card in range(8)),
            draw.randrange(200, 600) * 1_000, (NOW, SECONDS), 10, 200,
        )
        for n in range(asks)
    ]  # fmt: skip
    made_bids = [
        Bid(
            f"bid{n}", asks + n, f"buyer{n % 70}", frozenset(draw.sample(MODELS, 2)), draw.choice([1, 1, 2, 4, 8]),
            draw.randrange(10, 200), draw.randrange(300, 700) * 1_000, "USD", draw.choice([None, None, 60]),
            regions=draw.choice([frozenset(), frozenset({"eu"})]), is_new=True,
        )
        for n in range(bids)
    ]  # fmt: skip
    return made_bids, made_asks


def seconds_of(work, repeats):
    """The best of some runs, and what the last one gave."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return best, result


def main():
    """Both on one market that the oracle can finish, with the same fills; then the large round."""
    bids, asks = market(60, 60)
    plain, (expected, _) = seconds_of(lambda: clear_plainly(bids, asks, NOW, RULES), 1)
    fast, result = seconds_of(lambda: clear(bids=bids, asks=asks, now=NOW, rules=RULES), 5)
    found = [(fill.bid, fill.ask, fill.cards, fill.price_micros, fill.start, fill.end) for fill in result.fills]
    assert found == expected, "the engine and the oracle disagree"
    print(f"60 asks x 60 bids: engine {1 / fast:,.1f} rounds/s, oracle {1 / plain:,.2f}, ratio {plain / fast:,.0f}")
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    bids, asks = market(many, 256)
    slow, result = seconds_of(lambda: clear(bids=bids, asks=asks, now=NOW, rules=RULES), 3)
    print(f"{many:,} asks x 256 bids: {slow * 1000:,.0f} ms a round, {len(result.fills)} fills")


if __name__ == "__main__":
    main()
