"""First in, first out, against an oracle that pushes single coins about."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketplace.payments.fraud.origins import OLD, Lot, Move, Origin, Payment, Pockets
from tests.factories import NOON

WALLET, ORDER, OTHER_ORDER, LEAVING = 1, 2, 3, 4
POCKETS = (WALLET, ORDER, OTHER_ORDER, LEAVING)
WORLD, SELLER, OTHER_SELLER, FEE = 10, 11, 12, 13
DAY = timedelta(days=1)


def came(place, name="", days=30):
    return Origin(place, name, NOON + days * DAY if name else None)


def move(*legs, origin=OLD, prefer=""):
    return Move(NOON, legs, origin, prefer=prefer)


def emptied():
    return Pockets(wallet=WALLET, held=dict.fromkeys(POCKETS, 0))


def deposited(*origins, micros=100):
    pockets = emptied()
    for origin in origins:
        assert not pockets.apply(move((WORLD, -micros), (WALLET, micros), origin=origin))
    return pockets


def test_the_oldest_money_is_spent_first_and_the_seller_is_told_of_which():
    wire, card = came(1), came(2, "dep_card")
    pockets = deposited(wire, card)
    pockets.apply(move((WALLET, -150), (ORDER, 150)))
    first = pockets.apply(move((ORDER, -80), (SELLER, 76), (FEE, 4)))
    second = pockets.apply(move((ORDER, -50), (SELLER, 47), (FEE, 3)))
    assert first == [Payment(NOON, SELLER, "", (Lot(76, wire),)), Payment(NOON, FEE, "", (Lot(4, wire),))]
    assert second[0].lots == (Lot(20, wire), Lot(27, card))
    assert [each.unseasoned_micros(NOON) for each in second] == [27, 3]
    assert second[0].unseasoned_micros(NOON + 30 * DAY) == 0


def test_what_returns_is_the_youngest_and_keeps_its_place():
    wire, card, later = came(1), came(2, "dep_card"), came(3, "dep_later")
    pockets = deposited(wire, card)
    pockets.apply(move((WALLET, -150), (ORDER, 150)))
    pockets.apply(move((WORLD, -10), (WALLET, 10), origin=later))
    pockets.apply(move((ORDER, -60), (WALLET, 60)))
    assert pockets.lots[ORDER] == [Lot(90, wire)]
    assert pockets.lots[WALLET] == [Lot(10, wire), Lot(100, card), Lot(10, later)]


def test_a_sale_that_is_split_pays_the_seller_with_the_older_money():
    wire, card = came(1), came(2, "dep_card")
    pockets = deposited(wire, card)
    pockets.apply(move((WALLET, -200), (ORDER, 200)))
    paid = pockets.apply(move((ORDER, -200), (WALLET, 70), (SELLER, 120), (FEE, 10)))
    assert [each.lots for each in paid] == [(Lot(100, wire), Lot(20, card)), (Lot(10, card),)]
    assert pockets.lots[WALLET] == [Lot(70, card)]


def test_what_goes_back_to_a_card_is_that_cards_money_first():
    pockets = deposited(came(1), came(2, "dep_a"), came(3, "dep_b"))
    pockets.apply(move((WALLET, -120), (LEAVING, 120), prefer="dep_b"))
    assert pockets.lots[LEAVING] == [Lot(20, came(1)), Lot(100, came(3, "dep_b"))]
    assert (pockets.micros_of(WALLET, "dep_a"), pockets.micros_of(WALLET, "dep_b")) == (100, 0)
    pockets.apply(move((LEAVING, -120), (WALLET, 120)))
    assert pockets.micros_of(WALLET, "dep_b") == 100


# A step is (from, to, other, micros, part): what it means depends on the accounts.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deposit", "hold", "settle", "return", "split", "refund"]),
        st.sampled_from([ORDER, OTHER_ORDER]),
        st.integers(1, 12),
        st.integers(0, 12),
    ),
    max_size=25,
)


class Coins:
    """The oracle: every micro is a coin that knows when it came."""

    def __init__(self):
        self.pockets = {pocket: [] for pocket in POCKETS}
        self.paid = []

    def oldest(self, pocket, count, prefer=""):
        coins = sorted(self.pockets[pocket], key=lambda coin: coin.place)
        coins.sort(key=lambda coin: not prefer or coin.name != prefer)
        self.pockets[pocket] = coins[count:]
        return coins[:count]

    def youngest(self, pocket, count):
        coins = sorted(self.pockets[pocket], key=lambda coin: -coin.place)
        self.pockets[pocket] = coins[count:]
        return coins[:count]


def step(coins, number, what, order, micros, part):
    """Moves the oracle's coins; returns the legs, the origin and the deposit preferred of the same move, or None."""
    held, free = len(coins.pockets[order]), len(coins.pockets[WALLET])
    name = f"dep_{number % 3}" if number % 2 else ""
    if what == "deposit":
        coins.pockets[WALLET] += [came(number, name)] * micros
        return [(WORLD, -micros), (WALLET, micros)], came(number, name), ""
    if what == "hold" and (count := min(micros, free)):
        coins.pockets[order] += coins.oldest(WALLET, count)
        return [(WALLET, -count), (order, count)], OLD, ""
    if what == "settle" and (count := min(micros, held)):
        fee = min(part, count - 1)
        coins.paid.append((SELLER, coins.oldest(order, count - fee)))
        coins.paid.append((FEE, coins.oldest(order, fee)))
        return [(order, -count), (SELLER, count - fee), *([(FEE, fee)] if fee else [])], OLD, ""
    if what == "return" and (count := min(micros, held)):
        coins.pockets[WALLET] += coins.youngest(order, count)
        return [(order, -count), (WALLET, count)], OLD, ""
    if what == "split" and held:
        back = min(part, held - 1)
        coins.paid.append((OTHER_SELLER, coins.oldest(order, held - back)))
        coins.pockets[WALLET] += coins.youngest(order, back)
        return [(order, -held), *([(WALLET, back)] if back else []), (OTHER_SELLER, held - back)], OLD, ""
    if what == "refund" and (count := min(micros, free)):
        prefer = f"dep_{part % 3}"
        coins.paid.append((WORLD, coins.oldest(WALLET, count, prefer)))
        return [(WALLET, -count), (WORLD, count)], OLD, prefer
    return None


def counted(coins):
    return {place: sum(coin.place == place for coin in coins) for place in {coin.place for coin in coins}}


def micros(lots):
    return {lot.origin.place: lot.micros for lot in lots}


@given(STEPS)
def test_it_does_what_coins_do(steps):
    coins, pockets, paid = Coins(), emptied(), []
    for number, each in enumerate(steps, start=1):
        found = step(coins, number, *each)
        if found is not None:
            legs, origin, prefer = found
            paid += pockets.apply(move(*legs, origin=origin, prefer=prefer))
    told = [(payee, counted(each)) for payee, each in coins.paid if each]
    assert [(each.payee, micros(each.lots)) for each in paid] == told
    assert {pocket: micros(lots) for pocket, lots in pockets.lots.items()} == {
        pocket: counted(each) for pocket, each in coins.pockets.items()
    }


@given(STEPS, st.integers(0, 24))
def test_looking_at_it_later_finds_the_same_young_money(steps, seen_from):
    """What was there before the first young inflow is old all alike: nothing before it has to be read."""
    coins, whole, late = Coins(), emptied(), None
    for number, each in enumerate(steps, start=1):
        if number > seen_from and late is None:
            held = {pocket: sum(lot.micros for lot in lots) for pocket, lots in whole.lots.items()}
            late = Pockets(wallet=WALLET, held=held)
        found = step(coins, number, *each)
        if found is None or found[2] in {f"dep_{name % 3}" for name in range(1, seen_from + 1, 2)}:
            if found is not None:
                return  # money of a card from before is asked for by name
            continue
        legs, origin, prefer = found
        of_whole = whole.apply(move(*legs, origin=origin, prefer=prefer))
        of_late = late.apply(move(*legs, origin=origin, prefer=prefer)) if late else of_whole
        for one, other in zip(of_whole, of_late, strict=True):
            young = {place: count for place, count in micros(one.lots).items() if place > seen_from}
            assert young == {place: count for place, count in micros(other.lots).items() if place > seen_from}
