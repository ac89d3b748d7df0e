"""What always holds, whatever the market: the invariants of the rule book, against a plain oracle."""

from collections import defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.matching.engine import clear, matches
from marketplace.matching.hashes import input_hash, output_hash
from tests.marketplace.matching import oracle
from tests.marketplace.matching.strategies import NOW, RULES, asks, many, markets

calm = settings(max_examples=80, deadline=None)  # the oracle is slow, and the machine may be busy


def run(bids, asks):
    return clear(bids=bids, asks=asks, now=NOW, rules=RULES)


def as_tuples(result):
    return [(f.bid, f.ask, f.cards, f.price_micros, f.start, f.end) for f in result.fills]


def by_key(rows):
    return {row.key: row for row in rows}


@settings(max_examples=400, deadline=None)
@given(markets)
def test_the_engine_agrees_with_the_plain_oracle(market):
    result = run(*market)
    assert (as_tuples(result), list(result.unfilled)) == oracle.clear_plainly(*market, NOW, RULES)


@calm
@given(markets)
def test_no_card_is_claimed_twice_nor_outside_its_free_time(market):
    claims = defaultdict(list)
    offered = by_key(market[1])
    for fill in run(*market).fills:
        slots = {slot.card: slot for slot in offered[fill.ask].slots}
        for card in fill.cards:
            assert any(since <= fill.start and fill.end <= until for since, until in slots[card].free)
            assert all(fill.end <= start or end <= fill.start for start, end in claims[card])
            claims[card].append((fill.start, fill.end))


@calm
@given(markets)
def test_the_price_is_between_ask_and_cap(market):
    wanted, offered = by_key(market[0]), by_key(market[1])
    for fill in run(*market).fills:
        assert offered[fill.ask].price_micros <= fill.price_micros <= wanted[fill.bid].cap_micros


@calm
@given(markets)
def test_every_bid_is_filled_within_its_counts_or_not_at_all(market):
    result = run(*market)
    for bid in market[0]:
        count = sum(len(fill.cards) for fill in result.fills if fill.bid == bid.key)
        assert (count == 0) == (bid.key in result.unfilled)
        assert count == 0 or (bid.min_count or bid.count) <= count <= bid.count


@calm
@given(markets)
def test_nobody_holds_what_a_higher_priority_could_have_had(market):
    result = run(*market)
    rank = {bid.key: bid.priority for bid in market[0]}
    for bid in market[0]:
        if bid.key in result.unfilled:
            higher = [fill for fill in result.fills if rank[fill.bid] < bid.priority]
            assert not oracle.all_choices(bid, market[1], NOW, RULES, taken_by(higher))


@calm
@given(markets)
def test_no_compatible_pair_remains_after_a_round(market):
    result = run(*market)
    for bid in market[0]:
        if bid.key in result.unfilled:
            assert not oracle.all_choices(bid, market[1], NOW, RULES, taken_by(result.fills))


@calm
@given(markets, st.integers(1, 40), st.data())
def test_raising_a_cap_never_loses(market, raise_by, data):
    bids, asks = market
    won = {fill.bid for fill in run(bids, asks).fills}
    if won:
        lucky = data.draw(st.sampled_from(sorted(won)))
        raised = [replace(b, cap_micros=b.cap_micros + raise_by) if b.key == lucky else b for b in bids]
        assert lucky not in run(raised, asks).unfilled


@calm
@given(markets, asks(99))
def test_adding_an_ask_never_hurts_the_first_in_line(market, extra):
    bids, asks = market
    if bids:
        first = min(bids, key=lambda bid: bid.priority).key
        before, after = run(bids, asks), run(bids, [*asks, extra])
        if first not in before.unfilled:
            assert merit(after, first) <= merit(before, first)


@calm
@given(markets, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(market, random):
    shuffled = [[*market[0]], [replace(ask, slots=shuffle(ask.slots, random)) for ask in market[1]]]
    for rows in shuffled:
        random.shuffle(rows)
    first, again = run(*market), run(*shuffled)
    assert first == again
    assert output_hash(first) == output_hash(again)
    inputs = [input_hash(bids=bids, asks=asks, now=NOW, rules=RULES) for bids, asks in (market, shuffled)]
    assert inputs[0] == inputs[1]


@calm
@given(markets)
def test_a_second_round_on_what_is_left_fills_nothing(market):
    bids, offered = market
    result = run(bids, offered)
    left = [replace(ask, slots=tuple(remaining(slot, result.fills) for slot in ask.slots)) for ask in offered]
    assert run([bid for bid in bids if bid.key in result.unfilled], left).fills == ()


@calm
@given(markets)
def test_matches_is_not_zero_exactly_when_a_bid_on_one_node_alone_would_be_filled(market):
    for bid in market[0]:
        if bid.same_node:
            alone = run([bid], market[1])
            assert (matches(bid=bid, asks=market[1], now=NOW, rules=RULES) > 0) == bool(alone.fills)


@calm
@given(many(asks, 3), st.integers(0, 100))
def test_the_input_hash_sees_every_price(offered, raise_by):
    raised = [replace(ask, price_micros=ask.price_micros + raise_by) for ask in offered]
    same = input_hash(bids=[], asks=offered, now=NOW) == input_hash(bids=[], asks=raised, now=NOW)
    assert same == (raise_by == 0 or not offered)


def taken_by(fills):
    return {(card, second) for fill in fills for card in fill.cards for second in range(fill.start, fill.end)}


def merit(result, bid):
    """Smaller is better for a buyer: more cards, then less to pay for them."""
    parts = [fill for fill in result.fills if fill.bid == bid]
    return -sum(len(f.cards) for f in parts), sum(len(f.cards) * f.price_micros for f in parts)


def shuffle(slots, random):
    slots = list(slots)
    random.shuffle(slots)
    return tuple(slots)


def remaining(slot, fills):
    """The slot without the claims that were made of its card."""
    taken = taken_by(fills)
    seconds = {s for since, until in slot.free for s in range(since, until) if (slot.card, s) not in taken}
    starts = sorted(s for s in seconds if s - 1 not in seconds)
    ends = sorted(s + 1 for s in seconds if s + 1 not in seconds)
    return replace(slot, free=tuple(zip(starts, ends, strict=True)))
