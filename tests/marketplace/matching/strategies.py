"""Small crowded markets: few cards, few seconds, few prices, so that everybody meets everybody."""

from hypothesis import strategies as st

from marketplace.matching.values import Ask, Bid, Rules, Slot

RULES = Rules(start_deadline_seconds=2, turnaround_seconds=1, tick_micros=10)
NOW = 5
FIRMS = ["birch", "elm"]
MODELS = ["h100", "l4"]

prices = st.integers(1, 6).map(lambda n: n * 10)


@st.composite
def free_times(draw):
    edges = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=4)))
    if len(edges) % 2:
        edges.pop()
    return tuple(zip(edges[::2], edges[1::2], strict=True))


@st.composite
def slots(draw):
    cards = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4, unique=True))
    always = ((0, 60),)
    return tuple(
        Slot(card, draw(st.one_of(st.just(always), free_times())), draw(st.sampled_from([True, True, True, False])))
        for card in cards
    )


def one_or_none(**choices):
    """Mostly no field at all, otherwise one of them: markets in which most pairs fit, and each rule is met."""
    one = st.one_of(*(values.map(lambda value, name=name: {name: value}) for name, values in choices.items()))
    return st.one_of(st.just({}), st.just({}), one)


odd_asks = one_or_none(
    seller=st.sampled_from(FIRMS),
    currency=st.just("EUR"),
    gpu=st.just("l4"),
    memory_mib=st.just(24),
    window=st.tuples(st.sampled_from([0, 8]), st.integers(15, 30)),
    min_seconds=st.integers(2, 6),
    max_seconds=st.integers(3, 6),
    interruptible=st.just(True),
    tier=st.sampled_from([0, 2]),
    reliability_basis_points=st.sampled_from([None, 0, 9_900]),
    region=st.just("us-east"),
    country=st.just("US"),
)
odd_bids = one_or_none(
    buyer=st.just("acme"),
    models=st.sampled_from([frozenset({"l4"}), frozenset(MODELS)]),
    currency=st.just("EUR"),
    interruptible=st.just(True),
    regions=st.just(frozenset({"eu-west"})),
    countries=st.sampled_from([frozenset({"US", "FR"}), frozenset({"US"})]),
    min_memory_mib=st.just(48),
    exclude_nodes=st.just(frozenset({"node1"})),
    min_tier=st.just(1),
    min_reliability_basis_points=st.sampled_from([0, 9_000, 9_500]),
    pinned_listing=st.just("listing1"),
    pinned_node=st.just("node2"),
    start=st.just(NOW - 1),
)


@st.composite
def asks(draw, number):
    ordinary = {
        "seller": "acme", "site": draw(st.sampled_from(["north", "north", "south"])), "region": "eu-west",
        "country": "FR", "currency": "USD", "gpu": "h100", "memory_mib": 80, "window": (0, 60),
        "min_seconds": 1, "max_seconds": 20, "tier": 1, "reliability_basis_points": 9_000,
    }  # fmt: skip
    return Ask(
        key=f"ask{number}",
        seq=draw(st.integers(0, 20)),
        listing=f"listing{number % 2}",
        node=f"node{number % 3}",
        slots=draw(slots()),
        price_micros=draw(prices),
        counts=draw(st.one_of(st.none(), st.frozensets(st.integers(1, 4), min_size=1))),
        is_new=draw(st.booleans()),
        **ordinary | draw(odd_asks),
    )


@st.composite
def bids(draw, number):
    count = draw(st.integers(1, 5))
    ordinary = {
        "buyer": "elm", "models": frozenset({"h100"}), "currency": "USD",
        "start": draw(st.one_of(st.none(), st.integers(NOW, 20))),
    }  # fmt: skip
    return Bid(
        key=f"bid{number}",
        seq=draw(st.integers(0, 20)),
        count=count,
        duration_seconds=draw(st.integers(1, 8)),
        cap_micros=draw(st.integers(10, 70)),
        same_node=draw(st.booleans()),
        min_count=draw(st.one_of(st.none(), st.integers(1, count))),
        is_new=draw(st.booleans()),
        **ordinary | draw(odd_bids),
    )


def many(kind, most):
    """Up to `most` of asks or bids with keys of their own."""
    return st.integers(0, most).flatmap(lambda n: st.tuples(*(kind(i) for i in range(n))))


markets = st.tuples(many(bids, 6), many(asks, 5))
