"""A gateway's books and a ledger that agree, and faults that are planted in them; each says what must be found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from marketplace.payments.reconciliation.core import Accepted, Booked, Books, GatewayEntry, Key, Kind, PaidOut

READ_AT = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
SETTLED = READ_AT - timedelta(hours=1)
OLD = READ_AT - timedelta(days=3)
CENT = 10_000


@dataclass
class Planted:
    """Both sides, and the keys of the differences between them."""

    entries: dict[str, GatewayEntry] = field(default_factory=dict)
    booked: list[Booked] = field(default_factory=list)
    payouts: list[PaidOut] = field(default_factory=list)
    in_transit: dict[str, tuple[int, int]] = field(default_factory=dict)
    holdings_off: dict[str, int] = field(default_factory=dict)
    keys: set[Key] = field(default_factory=set)

    def pair(self, number: int, amount: int, fee: int = 0, currency: str = "USD", at: datetime = OLD, **more) -> str:
        """An entry and its journal, which agree."""
        entry = GatewayEntry(f"txn_{number:05}", "charge", currency, amount, fee, f"ch_{number}", at)
        entry = replace(entry, **more)
        self.entries[entry.id] = entry
        self.booked.append(Booked(f"stripe:{entry.id}", currency, entry.net_micros, fee, at))
        return entry.id

    def journal(self, entry_id: str) -> Booked:
        return next(each for each in self.booked if each.ref == f"stripe:{entry_id}")

    def swap(self, old: Booked, *new: Booked) -> None:
        self.booked[self.booked.index(old) : self.booked.index(old) + 1] = new

    def expect(self, kind: Kind, subject: str, *currencies: str) -> None:
        self.keys |= {Key(kind, subject, each) for each in currencies}

    def sums(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.entries.values():
            found[each.currency] = found.get(each.currency, 0) + each.net_micros
        return found

    def books(self, accepted: dict[Key, Accepted] | None = None) -> Books:
        currencies = self.sums()
        held = {each: micros + self.holdings_off.get(each, 0) for each, micros in currencies.items()}
        return Books(
            gateway="stripe",
            entries=list(self.entries.values()),
            booked=list(self.booked),
            holdings=held,
            payouts=list(self.payouts),
            in_transit=dict(self.in_transit),
            read_at=READ_AT,
            settled_before=SETTLED,
            accepted=accepted or {},
        )


def not_booked(here: Planted, entry: GatewayEntry) -> None:
    here.booked.remove(here.journal(entry.id))
    here.expect(Kind.NOT_BOOKED, entry.id, entry.currency)


def not_there(here: Planted, entry: GatewayEntry) -> None:
    del here.entries[entry.id]
    here.expect(Kind.NOT_THERE, f"stripe:{entry.id}", entry.currency)


def by_nobodys_name(here: Planted, entry: GatewayEntry) -> None:
    here.booked.append(replace(here.journal(entry.id), ref=f"manual:{entry.id}"))
    here.expect(Kind.NOT_THERE, f"manual:{entry.id}", entry.currency)


def other_amount(here: Planted, entry: GatewayEntry) -> None:
    old = here.journal(entry.id)
    here.swap(old, replace(old, net_micros=old.net_micros - 3 * CENT))
    here.expect(Kind.AMOUNT, entry.id, entry.currency)


def other_fee(here: Planted, entry: GatewayEntry) -> None:
    """Booked without a part of the fee: what came is the same, more of it arrived than did."""
    old = here.journal(entry.id)
    here.swap(old, replace(old, net_micros=old.net_micros + CENT, fee_micros=old.fee_micros - CENT))
    here.expect(Kind.FEE, entry.id, entry.currency)


def other_currency(here: Planted, entry: GatewayEntry) -> None:
    wrong = "EUR" if entry.currency != "EUR" else "USD"
    old = here.journal(entry.id)
    here.swap(old, replace(old, currency=wrong))
    here.expect(Kind.CURRENCY, entry.id, entry.currency, wrong)


def twice(here: Planted, entry: GatewayEntry) -> None:
    here.booked.append(replace(here.journal(entry.id), ref=f"stripe:{entry.id}:again"))
    here.expect(Kind.TWICE, entry.id, entry.currency)


def changed(here: Planted, entry: GatewayEntry) -> None:
    here.entries[entry.id] = replace(entry, amount_micros=entry.amount_micros + 7 * CENT, first=entry)
    here.expect(Kind.CHANGED, entry.id, entry.currency)


def wrong_payout(here: Planted, entry: GatewayEntry) -> None:
    """A payout that says it is made of this entry and has another amount."""
    paid_out(here, entry, entry.net_micros + CENT)
    here.expect(Kind.PAYOUT, f"po_{entry.id}", entry.currency)


def paid_out(here: Planted, entry: GatewayEntry, amount: int | None = None) -> None:
    """An automatic payout of one entry, with its own entry."""
    amount = entry.net_micros if amount is None else amount
    payout = PaidOut(f"po_{entry.id}", entry.currency, amount, OLD, (entry.id, f"txn_out_{entry.id}"))
    here.payouts.append(payout)
    own = GatewayEntry(f"txn_out_{entry.id}", "payout", entry.currency, -amount, 0, payout.id, OLD)
    here.entries[own.id] = own
    here.booked.append(Booked(f"stripe:{own.id}", own.currency, own.net_micros, 0, OLD))


FAULTS: tuple[Callable[[Planted, GatewayEntry], None], ...] = (
    not_booked, not_there, by_nobodys_name, other_amount, other_fee, other_currency, twice, changed, wrong_payout,
)  # fmt: skip


def plant(count: int, faults: int, *, seed: int = 7) -> Planted:
    """`count` entries in three currencies, every kind of fault in turn on as many as `faults` of them."""
    chance, here = random.Random(seed), Planted()
    for number in range(count):
        amount = chance.choice((-1, 1, 1, 1)) * chance.randrange(500, 500_000) * CENT
        fee = max(0, amount // CENT // 30) * CENT
        here.pair(number, amount, fee, chance.choice(("USD", "EUR", "KWD")))
    for number, name in enumerate(chance.sample(sorted(here.entries), faults)):
        FAULTS[number % len(FAULTS)](here, here.entries[name])
    return here
