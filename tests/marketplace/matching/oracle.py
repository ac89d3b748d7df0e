"""The round's rules once more, as plainly as they can be said: every card second by second, every choice tried.

Slow on purpose; only for small numbers. It shares the values with the engine and nothing else.
"""

from itertools import product


def clear_plainly(bids, asks, now, rules):
    """(fills, unfilled) as lists of tuples (bid, ask, cards, price, start, end) and of keys."""
    taken, fills, unfilled = set(), [], []
    order = sorted(bids, key=lambda bid: (bid.interruptible, -bid.cap_micros, bid.seq, bid.key))
    for bid in order:
        choices = all_choices(bid, asks, now, rules, taken)
        if not choices:
            unfilled.append(bid.key)
            continue
        start, seconds = claim(bid, now, rules)
        for ask, cards, price in min(choices, key=preference):
            taken |= {(card, second) for card in cards for second in seconds}
            fills.append((bid.key, ask.key, cards, price, start, seconds.stop))
    return fills, unfilled


def claim(bid, now, rules):
    start = now if bid.start is None else bid.start
    return start, range(start, start + rules.start_deadline_seconds + bid.duration_seconds + rules.turnaround_seconds)


def all_choices(bid, asks, now, rules, taken):
    """Every way to serve the bid: lists of (ask, cards, price)."""
    start, seconds = claim(bid, now, rules)
    if start < now:
        return []
    usable = [(ask, free(ask, seconds, now, taken)) for ask in asks if suits(bid, ask, seconds)]
    choices = [
        [(ask, cards[:count], price(bid, ask, rules))]
        for ask, cards in usable
        for count in range(least(bid), bid.count + 1)
        if gives(ask, count) and len(cards) >= count
    ]
    if not bid.same_node:
        for site in {site_of(ask) for ask, _ in usable}:
            choices += spread(bid, [(ask, cards) for ask, cards in usable if site_of(ask) == site], rules)
    return choices


def spread(bid, usable, rules):
    """Every combination of takes over one site; a card listed twice is given by the cheapest, then oldest, alone."""
    usable = sorted(usable, key=lambda pair: (price(bid, pair[0], rules), pair[0].seq, pair[0].key))
    owner = {}
    for ask, cards in usable:
        for card in cards:
            owner.setdefault(card, ask.key)
    usable = [(ask, tuple(card for card in cards if owner[card] == ask.key)) for ask, cards in usable]
    options = [[n for n in range(len(cards) + 1) if n == 0 or gives(ask, n)] for ask, cards in usable]
    return [
        [(ask, cards[:n], price(bid, ask, rules)) for (ask, cards), n in zip(usable, takes, strict=True) if n]
        for takes in product(*options)
        if least(bid) <= sum(takes) <= bid.count
    ]


def preference(choice):
    """More cards, then the least to pay, the oldest asks, the most from the cheapest of them, the lower cards."""
    count = sum(len(cards) for _, cards, _ in choice)
    total = sum(len(cards) * each for _, cards, each in choice)
    ages = sorted((ask.seq, ask.key) for ask, _, _ in choice)
    return -count, total, ages, [-len(cards) for _, cards, _ in choice], [cards for _, cards, _ in choice]


def site_of(ask):
    return ask.seller, ask.site, ask.gpu, ask.memory_mib


def least(bid):
    return bid.count if bid.min_count is None else bid.min_count


def gives(ask, count):
    return ask.counts is None or count in ask.counts


def free(ask, seconds, now, taken):
    def is_free(slot):
        if seconds.start <= now and not slot.idle:
            return False
        owned = {second for since, until in slot.free for second in range(since, until)}
        return all(second in owned and (slot.card, second) not in taken for second in seconds)

    return tuple(sorted(slot.card for slot in ask.slots if is_free(slot)))


def suits(bid, ask, seconds):
    return (
        ask.currency == bid.currency
        and ask.gpu in bid.models
        and ask.seller != bid.buyer
        and ask.price_micros <= bid.cap_micros
        and (bid.pinned_listing is None or bid.pinned_listing == ask.listing)
        and (bid.pinned_node is None or bid.pinned_node == ask.node)
        and ask.node not in bid.exclude_nodes
        and (not ask.interruptible or bid.interruptible)
        and (not bid.regions or ask.region in bid.regions)
        and (not bid.countries or ask.country in bid.countries)
        and ask.memory_mib >= bid.min_memory_mib
        and ask.tier >= bid.min_tier
        and (
            bid.min_reliability_basis_points is None
            or (
                ask.reliability_basis_points is not None
                and ask.reliability_basis_points >= bid.min_reliability_basis_points
            )
        )
        and ask.min_seconds <= bid.duration_seconds <= ask.max_seconds
        and ask.window[0] <= seconds.start
        and seconds.stop <= ask.window[1]
    )


def price(bid, ask, rules):
    if bid.is_new and ask.is_new:
        tick = rules.tick_micros
        return max(ask.price_micros, (bid.cap_micros + ask.price_micros) // 2 // tick * tick)
    if bid.is_new != ask.is_new:
        return ask.price_micros if bid.is_new else bid.cap_micros
    return bid.cap_micros if bid.seq < ask.seq else ask.price_micros
