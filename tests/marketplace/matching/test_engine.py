from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.matching.engine import clear, matches
from marketplace.matching.hashes import input_hash, output_hash
from marketplace.matching.values import Ask, Bid, Rules, Slot
from tests.marketplace.matching.oracle import clear_plainly, suits

RULES = Rules(start_deadline_seconds=2, turnaround_seconds=1, tick_micros=10)
NOW = 100
SELLERS, BUYERS, GPUS = ["firm_a", "firm_b"], ["firm_b", "firm_c"], ["h100", "l40"]
ends = st.integers(NOW + 3, NOW + 25)


@st.composite
def asks(draw):
    cards = draw(st.lists(st.integers(1, 6), unique=True, min_size=1, max_size=3))
    shortest = draw(st.integers(1, 6))
    return {
        "seller": draw(st.sampled_from(SELLERS)),
        "node": draw(st.sampled_from(["n1", "n2"])),
        "site": draw(st.sampled_from(["s1", "s2"])),
        "region": draw(st.sampled_from(["eu", "us"])),
        "currency": draw(st.sampled_from(["USD", "EUR"])),
        "gpu": draw(st.sampled_from(GPUS)),
        "slots": tuple(Slot(card, ((NOW, draw(ends)),), draw(st.sampled_from([True, True, False]))) for card in cards),
        "price_micros": draw(st.integers(1, 6)) * 10,
        "window": (NOW, draw(ends)),
        "min_seconds": shortest,
        "max_seconds": shortest + draw(st.integers(0, 12)),
        "counts": draw(st.sampled_from([None, None, frozenset({1, 2})])),
        "interruptible": draw(st.booleans()),
        "is_new": draw(st.booleans()),
    }


@st.composite
def bids(draw):
    count = draw(st.integers(1, 3))
    return {
        "buyer": draw(st.sampled_from(BUYERS)),
        "models": frozenset(draw(st.sets(st.sampled_from(GPUS), min_size=1))),
        "count": count,
        "min_count": draw(st.one_of(st.none(), st.integers(1, count))),
        "duration_seconds": draw(st.integers(1, 12)),
        "cap_micros": draw(st.integers(1, 8)) * 10,
        "currency": "USD",
        "same_node": draw(st.booleans()),
        "interruptible": draw(st.booleans()),
        "regions": draw(st.sampled_from([frozenset(), frozenset({"eu"})])),
        "exclude_nodes": draw(st.sampled_from([frozenset(), frozenset({"n1"})])),
        "is_new": draw(st.booleans()),
    }


@st.composite
def rounds(draw):
    ask_list = draw(st.lists(asks(), max_size=4))
    bid_list = draw(st.lists(bids(), max_size=4))
    seqs = draw(st.permutations(range(1, len(ask_list) + len(bid_list) + 1)))
    made_asks = [
        Ask(key=f"a{n}", seq=seqs[n], listing=f"l{n}", country="DE", memory_mib=80_000, **each)
        for n, each in enumerate(ask_list)
    ]
    made_bids = [Bid(key=f"b{n}", seq=seqs[len(ask_list) + n], **each) for n, each in enumerate(bid_list)]
    return made_bids, made_asks


def run(bid_list, ask_list):
    return clear(bids=bid_list, asks=ask_list, now=NOW, rules=RULES)


@settings(max_examples=400, deadline=None)
@given(rounds())
def test_it_agrees_with_the_plain_rules(given_round):
    bid_list, ask_list = given_round
    result = run(bid_list, ask_list)
    fills, unfilled = clear_plainly(bid_list, ask_list, NOW, RULES)
    assert sorted((f.bid, f.ask, f.cards, f.price_micros, f.start, f.end) for f in result.fills) == sorted(fills)
    assert list(result.unfilled) == unfilled


@settings(max_examples=200, deadline=None)
@given(rounds(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(given_round, shuffler: random.Random):
    bid_list, ask_list = given_round
    before = output_hash(run(bid_list, ask_list)), input_hash(bids=bid_list, asks=ask_list, now=NOW, rules=RULES)
    shuffler.shuffle(bid_list)
    shuffler.shuffle(ask_list)
    after = output_hash(run(bid_list, ask_list)), input_hash(bids=bid_list, asks=ask_list, now=NOW, rules=RULES)
    assert before == after


@settings(max_examples=200, deadline=None)
@given(rounds())
def test_no_card_is_given_twice_and_every_price_lies_between_ask_and_cap(given_round):
    bid_list, ask_list = given_round
    by_bid, by_ask = {bid.key: bid for bid in bid_list}, {ask.key: ask for ask in ask_list}
    held: list[tuple[int, int, int]] = []
    for fill in run(bid_list, ask_list).fills:
        assert by_ask[fill.ask].price_micros <= fill.price_micros <= by_bid[fill.bid].cap_micros
        assert by_ask[fill.ask].seller != by_bid[fill.bid].buyer
        for card in fill.cards:
            assert not any(other == card and fill.start < end and start < fill.end for other, start, end in held)
            held.append((card, fill.start, fill.end))


@settings(max_examples=200, deadline=None)
@given(rounds())
def test_no_compatible_pair_is_left_after_a_round(given_round):
    bid_list, ask_list = given_round
    result = run(bid_list, ask_list)
    taken = {card for fill in result.fills for card in fill.cards}
    for key in result.unfilled:
        bid = next(each for each in bid_list if each.key == key)
        seconds = range(NOW, NOW + bid.duration_seconds + 3)
        for ask in ask_list:
            if not suits(bid, ask, seconds):
                continue
            free = [s for s in ask.slots if s.idle and s.free[0][1] >= seconds.stop and s.card not in taken]
            allowed = [n for n in range(bid.least_count, bid.count + 1) if ask.counts is None or n in ask.counts]
            assert not allowed or len(free) < min(allowed)


@settings(max_examples=200, deadline=None)
@given(rounds(), st.integers(1, 5))
def test_raising_a_cap_never_loses(given_round, more):
    bid_list, ask_list = given_round
    won = {fill.bid for fill in run(bid_list, ask_list).fills}
    for n, bid in enumerate(bid_list):
        if bid.key in won:
            raised = [*bid_list]
            fields = {name: getattr(bid, name) for name in Bid.__dataclass_fields__}
            raised[n] = Bid(**fields | {"cap_micros": bid.cap_micros + more * 10})
            assert bid.key in {fill.bid for fill in run(raised, ask_list).fills}


def ask(key, price, *, cards=(1,), seq=1, is_new=False, **other):
    values = {
        "seller": "firm_a", "node": "n1", "site": "s1", "region": "eu", "currency": "USD", "gpu": "h100",
        "window": (NOW, NOW + 1000), "min_seconds": 1, "max_seconds": 900,
    }  # fmt: skip
    slots = tuple(Slot(card, ((NOW, NOW + 1000),)) for card in cards)
    named = {"listing": key, "country": "DE", "memory_mib": 80_000, "slots": slots, "price_micros": price}
    return Ask(**{"key": key, "seq": seq, "is_new": is_new} | values | named | other)


def bid(key, cap, *, seq=2, is_new=True, count=1, **other):
    values = {"buyer": "firm_c", "models": frozenset({"h100"}), "currency": "USD", "duration_seconds": 60}
    return Bid(**{"key": key, "seq": seq, "cap_micros": cap, "count": count, "is_new": is_new} | values | other)


def test_the_older_side_makes_the_price():
    assert run([bid("b", 100)], [ask("a", 40)]).fills[0].price_micros == 40
    waiting = bid("b", 100, seq=1, is_new=False)
    assert run([waiting], [ask("a", 40, seq=2, is_new=True)]).fills[0].price_micros == 100
    assert run([bid("b", 100)], [ask("a", 45, is_new=True)]).fills[0].price_micros == 70


def test_the_higher_cap_is_served_first_and_the_older_of_equals():
    result = run([bid("low", 50, seq=1), bid("high", 60, seq=2)], [ask("a", 40)])
    assert [fill.bid for fill in result.fills] == ["high"]
    result = run([bid("late", 50, seq=3), bid("early", 50, seq=2)], [ask("a", 40)])
    assert [fill.bid for fill in result.fills] == ["early"]


def test_of_two_ways_that_cost_the_same_it_takes_the_lower_cards():
    wide = ask("a2", 10, seq=2, cards=(1, 2, 3), counts=frozenset({2}))
    made = run([bid("b", 10, count=2, same_node=False)], [ask("a1", 10, seq=1), wide])
    assert [(fill.ask, fill.cards) for fill in made.fills] == [("a2", (1, 2))]


def test_a_lease_that_does_not_fit_with_its_turnaround_is_not_made():
    slot = Slot(1, ((NOW, NOW + 62),))
    assert not run([bid("b", 50)], [ask("a", 40, slots=(slot,))]).fills
    slot = Slot(1, ((NOW, NOW + 63),))
    assert run([bid("b", 50)], [ask("a", 40, slots=(slot,))]).fills


def test_it_counts_the_asks_that_would_serve():
    assert matches(bid=bid("b", 50), asks=[ask("a", 40), ask("x", 60, cards=(2,))], now=NOW, rules=RULES) == 1
