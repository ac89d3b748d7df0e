"""The market's rules, one at a time, on numbers that can be checked by hand."""

import pytest

from marketplace.matching.engine import clear, matches
from marketplace.matching.values import Fill, Slot
from tests.marketplace.matching.examples import DAY, HOUR, NOW, ask, bid


def fills(bids, asks):
    return clear(bids=bids, asks=asks, now=NOW).fills


def test_it_claims_the_start_deadline_the_paid_hours_and_the_turnaround():
    assert fills([bid()], [ask()]) == (Fill("bid1", "ask1", (11,), 400_000, NOW, NOW + 600 + 10 * HOUR + 120),)


def test_a_new_bid_pays_the_price_of_the_ask_that_was_there():
    assert fills([bid()], [ask()])[0].price_micros == 400_000


def test_a_resting_bid_pays_its_cap_to_a_new_ask():
    assert fills([bid(is_new=False, seq=1)], [ask(is_new=True, seq=2)])[0].price_micros == 500_000


def test_two_new_sides_meet_at_the_midpoint_rounded_down_to_the_tick():
    assert fills([bid(cap_micros=501_000)], [ask(is_new=True)])[0].price_micros == 450_000


def test_of_two_resting_sides_the_older_sets_the_price():
    assert fills([bid(is_new=False, seq=9)], [ask(seq=3)])[0].price_micros == 400_000
    assert fills([bid(is_new=False, seq=2)], [ask(seq=3)])[0].price_micros == 500_000


def test_it_takes_the_ask_that_makes_it_pay_least_not_the_lowest_ask():
    new_but_low = ask(key="new", seq=3, price_micros=390_000, is_new=True, cards=(21,))  # the midpoint is 0.445
    assert fills([bid()], [new_but_low, ask()])[0].ask == "ask1"


def test_at_the_same_price_it_takes_the_older_ask():
    assert fills([bid()], [ask(), ask(key="older", seq=0, cards=(21,))])[0].ask == "older"


def test_the_higher_cap_is_served_first_then_the_older_bid():
    one_card = [ask(cards=(11,))]
    high, low = bid(key="high", seq=9, cap_micros=600_000), bid(key="low", seq=2)
    assert fills([low, high], one_card)[0].bid == "high"
    assert fills([bid(key="late", seq=9), bid(key="early", seq=8)], one_card)[0].bid == "early"


def test_a_firm_bid_is_served_before_an_interruptible_one_with_a_higher_cap():
    interruptible = bid(key="spot", cap_micros=900_000, interruptible=True)
    assert fills([interruptible, bid()], [ask(cards=(11,))])[0].bid == "bid1"


def test_a_firm_bid_never_gets_an_interruptible_ask():
    assert fills([bid()], [ask(interruptible=True)]) == ()
    assert fills([bid(interruptible=True)], [ask(interruptible=True)])


def test_a_firm_of_its_own_cards_buys_nothing_from_itself():
    assert fills([bid(buyer="seller")], [ask()]) == ()


def test_currencies_never_meet():
    assert fills([bid(currency="EUR")], [ask()]) == ()


def test_the_whole_claim_must_lie_in_the_window():
    exactly = NOW + 600 + 10 * HOUR + 120
    assert fills([bid()], [ask(window=(NOW, exactly))])
    assert fills([bid()], [ask(window=(NOW, exactly - 1))]) == ()
    assert fills([bid()], [ask(window=(NOW + 1, exactly + DAY))]) == ()


def test_a_start_now_needs_a_card_that_is_measured_idle_and_a_later_start_does_not():
    busy = ask(slots=(Slot(11, ((NOW - HOUR, NOW + DAY),), idle=False),))
    assert fills([bid()], [busy]) == ()
    assert fills([bid(start=NOW + HOUR)], [busy])[0].start == NOW + HOUR


def test_a_start_in_the_past_matches_nothing():
    assert fills([bid(start=NOW - 1)], [ask()]) == ()
    assert matches(bid=bid(start=NOW - 1), asks=[ask()], now=NOW) == 0


def test_two_claims_of_one_card_may_touch_but_not_overlap():
    length = 600 + 10 * HOUR + 120
    first = bid(key="first", cap_micros=900_000)
    touching, overlapping = bid(key="next", start=NOW + length), bid(key="next", start=NOW + length - 1)
    assert len(fills([first, touching], [ask(cards=(11,))])) == 2
    assert len(fills([first, overlapping], [ask(cards=(11,))])) == 1


def test_a_claim_may_end_exactly_where_one_that_was_made_earlier_begins():
    length = 600 + 10 * HOUR + 120
    later = bid(key="later", cap_micros=900_000, start=NOW + length)
    assert len(fills([later, bid()], [ask(cards=(11,))])) == 2
    assert len(fills([later, bid(duration_seconds=10 * HOUR + 1)], [ask(cards=(11,))])) == 1


def test_a_resting_side_is_older_than_a_new_one_whatever_their_numbers():
    assert fills([bid(seq=1)], [ask(seq=2)])[0].price_micros == 400_000


def test_cards_listed_twice_on_a_site_are_counted_once():
    twice = [ask(cards=(11, 12)), ask(key="ask2", price_micros=410_000, cards=(11, 12))]
    assert fills([bid(count=4, same_node=False)], twice) == ()
    pair_or_three = [ask(counts=frozenset({2})), ask(key="ask2", seq=2, cards=(11, 12, 13), counts=frozenset({3}))]
    assert fills([bid(count=3, same_node=False)], pair_or_three)[0].ask == "ask2"


def test_what_is_left_before_a_claim_ahead_is_sold_to_the_last_second():
    length = 600 + 10 * HOUR + 120
    exact = ask(cards=(11,), window=(NOW + HOUR, NOW + HOUR + 2 * length), min_seconds=10 * HOUR)
    second = bid(key="second", cap_micros=900_000, start=NOW + HOUR + length)
    assert len(fills([second, bid(start=NOW + HOUR)], [exact])) == 2


def test_a_card_in_two_asks_is_sold_once():
    twice = [ask(cards=(11,)), ask(key="ask2", cards=(11,), price_micros=410_000)]
    assert len(fills([bid(), bid(key="bid2")], twice)) == 1


def test_fifty_takes_of_one_card_give_one_fill():
    takes = [bid(key=f"take{n}", seq=n, pinned_listing="clst_1", pinned_node="node_1") for n in range(50)]
    result = clear(bids=takes, asks=[ask(cards=(11,)), ask(key="other", listing="clst_2", cards=(21,))], now=NOW)
    assert [fill.bid for fill in result.fills] == ["take0"]
    assert len(result.unfilled) == 49


def test_all_or_nothing_unless_a_minimum_is_given():
    assert fills([bid(count=3)], [ask()]) == ()
    assert fills([bid(count=3, min_count=1)], [ask()])[0].cards == (11, 12)


def test_a_whole_fit_wins_over_a_cheaper_part():
    larger = ask(key="larger", price_micros=450_000, cards=(21, 22, 23))
    assert fills([bid(count=3, min_count=1)], [ask(), larger])[0].ask == "larger"


def test_an_ask_gives_only_the_counts_that_it_allows():
    whole_node = ask(counts=frozenset({2}))
    assert fills([bid()], [whole_node]) == ()
    assert fills([bid(count=2)], [whole_node])[0].cards == (11, 12)


def test_one_node_never_becomes_two():
    nodes = [ask(cards=(11,)), ask(key="ask2", node="node_2", cards=(21,))]
    assert fills([bid(count=2)], nodes) == ()
    spread = fills([bid(count=2, same_node=False)], nodes)
    assert [(fill.ask, fill.cards) for fill in spread] == [("ask1", (11,)), ("ask2", (21,))]


def test_a_spread_stays_on_one_site_of_one_seller():
    here = ask(cards=(11,))
    for elsewhere in ({"site": "site_2"}, {"seller": "another"}, {"gpu": "l4"}, {"memory_mib": 40_000}):
        there = ask(key="ask2", cards=(21,), **elsewhere)
        assert fills([bid(count=2, same_node=False, models=frozenset({"h100-sxm", "l4"}))], [here, there]) == ()


def test_a_spread_finds_the_combination_when_the_cheapest_ask_first_would_fail():
    pair = ask(cards=(11, 12), counts=frozenset({2}))
    triple = ask(key="triple", node="node_2", price_micros=450_000, cards=(21, 22, 23), counts=frozenset({3}))
    assert [fill.ask for fill in fills([bid(count=3, same_node=False)], [pair, triple])] == ["triple"]


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        clear(bids=[bid(), bid()], asks=[], now=NOW)
    with pytest.raises(ValueError, match="twice"):
        clear(bids=[], asks=[ask(), ask()], now=NOW)
    with pytest.raises(ValueError, match="twice"):
        clear(bids=[], asks=[ask(cards=(11, 11))], now=NOW)


def test_matches_counts_the_asks_that_could_serve_it():
    book = [ask(), ask(key="dear", price_micros=500_001), ask(key="same", seq=7), ask(key="eur", currency="EUR")]
    assert matches(bid=bid(), asks=book, now=NOW) == 2
