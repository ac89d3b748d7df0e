"""Where a ledger and a gateway's own books differ. Pure: facts in, differences out. Amounts are micros.

The gateway's books are entries (Stripe calls them balance transactions), each with an amount and a fee; their net sums
are its balance. The ledger names the entry that a journal is about in the journal's `ref`, `stripe:txn_…`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

CLOCKS_APART = timedelta(minutes=5)  # at most, ours and the gateway's
# Entries that are nothing but what the gateway takes: https://docs.stripe.com/reports/balance-transaction-types.
COST_TYPES = frozenset(("stripe_fee", "stripe_fx_fee"))
PAYOUT_TYPES = frozenset(("payout", "payout_cancel", "payout_failure"))  # a payout's own entries, no parts of it


class Kind(StrEnum):
    """What is wrong."""

    NOT_BOOKED = "not_booked"  # the gateway has it, the ledger hasn't
    NOT_THERE = "not_there"  # the ledger has it, the gateway hasn't
    AMOUNT = "amount"
    FEE = "fee"
    CURRENCY = "currency"
    TWICE = "twice"  # two journals name one entry
    CHANGED = "changed"  # the gateway tells another entry than before
    PAYOUT = "payout"  # a payout is not the sum of its parts
    TRANSIT = "transit"  # what is on its way to the bank is not what the ledger says
    BALANCE = "balance"  # the gateway's balance is not the sum of its entries
    OVERTAKEN = "overtaken"  # booked by hand, and then the difference went away by itself


class Key(NamedTuple):
    """What names a difference from one run to the next. `subject` is an entry's, journal's or payout's name."""

    kind: Kind
    subject: str
    currency: str


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """An entry of the gateway's books as it is told now; `first` is what was told first, if that was another."""

    id: str
    type: str
    currency: str
    amount_micros: int
    fee_micros: int
    source: str
    at: datetime
    first: GatewayEntry | None = None

    @property
    def net_micros(self) -> int:
        return self.amount_micros - self.fee_micros

    @property
    def cost_micros(self) -> int:
        """What of it is the gateway's: the fee, or all of an entry that is a fee itself."""
        return -self.net_micros if self.type in COST_TYPES else self.fee_micros


@dataclass(frozen=True, slots=True)
class Booked:
    """What a journal says of the gateway in one currency: what came to it, and the fee that it took."""

    ref: str
    currency: str
    net_micros: int
    fee_micros: int
    at: datetime

    @property
    def amount_micros(self) -> int:
        return self.net_micros + self.fee_micros

    @property
    def entry_id(self) -> str:
        """The entry that the journal names; empty when it names none."""
        parts = self.ref.split(":")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class PaidOut:
    """A payout to the platform's bank; `parts` are the entries that it is made of, None when nobody can tell.

    Stripe tells them of automatic payouts only: https://docs.stripe.com/payouts/reconciliation.
    """

    id: str
    currency: str
    amount_micros: int
    at: datetime
    parts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A difference. `off_micros` is what the ledger's clearing lacks of the gateway's books because of it."""

    key: Key
    expected_micros: int
    found_micros: int
    off_micros: int
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that an operator has explained, and what was booked for it then."""

    expected_micros: int
    found_micros: int
    off_micros: int


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that is compared.

    `holdings` is the gateway's balance by currency, read at `read_at` before its entries were listed. What happened
    after `settled_before` may still be on its way into the other books. `left_out` is the net sum by currency of
    entries that are not in here because they are known to agree. `in_transit` has, by currency, what payouts are on
    their way to the bank and what the ledger says of it.
    """

    gateway: str
    entries: Sequence[GatewayEntry]
    booked: Sequence[Booked]
    holdings: Mapping[str, int]
    payouts: Sequence[PaidOut]
    in_transit: Mapping[str, tuple[int, int]]
    read_at: datetime
    settled_before: datetime
    left_out: Mapping[str, int] = field(default_factory=dict)
    accepted: Mapping[Key, Accepted] = field(default_factory=dict)


def differences(books: Books) -> list[Found]:
    """Everything that differs and is not explained, each once."""
    found = [*_of_entries(books), *_of_payouts(books), *_of_transit(books), *_of_balances(books)]
    return _unexplained({each.key: each for each in found}, books.accepted)


def _of_entries(books: Books) -> Iterator[Found]:
    entries = {each.id: each for each in books.entries}
    named: dict[str, list[Booked]] = defaultdict(list)
    for each in books.booked:
        known = each.ref.startswith(f"{books.gateway}:") and each.entry_id in entries
        if known:
            named[each.entry_id].append(each)
        elif each.at < books.settled_before:
            yield _found(
                Kind.NOT_THERE, each.ref, each.currency, 0, each.net_micros, -each.net_micros, journal=each.ref
            )
    for entry in entries.values():
        yield from _of_entry(entry, named.get(entry.id, []), books)


def _of_entry(entry: GatewayEntry, booked: Sequence[Booked], books: Books) -> Iterator[Found]:
    told = {"type": entry.type, "source": entry.source, "at": entry.at.isoformat()}
    own = f"{books.gateway}:{entry.id}"
    refs = sorted({each.ref for each in booked}, key=lambda ref: (ref != own, ref))
    once = [each for each in booked if each.ref == refs[0]]
    pair = next((each for each in once if each.currency == entry.currency), None)
    for more in _twice(entry, booked, refs):
        yield replace(more, evidence={**told, **more.evidence})
    for each in once:
        if each is not pair:
            seen = told | {"journal": each.ref, "gateway_currency": entry.currency}
            yield _found(Kind.CURRENCY, entry.id, each.currency, 0, each.net_micros, -each.net_micros, **seen)
    if pair is not None:
        yield from _compared(entry, pair, told)
    elif once:
        seen = told | {"journal": refs[0], "ledger_currency": once[0].currency}
        yield _found(Kind.CURRENCY, entry.id, entry.currency, entry.net_micros, 0, entry.net_micros, **seen)
    elif entry.at < books.settled_before and (entry.amount_micros or entry.fee_micros):
        yield _found(Kind.NOT_BOOKED, entry.id, entry.currency, entry.net_micros, 0, entry.net_micros, **told)
    if entry.first is not None and pair is None:
        yield _changed(entry, entry.first, None, told)


def _compared(entry: GatewayEntry, pair: Booked, told: Mapping[str, Any]) -> Iterator[Found]:
    """An entry and its journal in the same currency. One that changed is told as that, whatever it differs in."""
    told = {**told, "journal": pair.ref}
    if entry.first is not None:
        yield _changed(entry, entry.first, pair, told)
        return
    came, fee = entry.net_micros + entry.cost_micros, entry.cost_micros - pair.fee_micros
    if came != pair.amount_micros:
        off = came - pair.amount_micros
        yield _found(Kind.AMOUNT, entry.id, entry.currency, came, pair.amount_micros, off, **told)
    if fee:
        yield _found(Kind.FEE, entry.id, entry.currency, entry.cost_micros, pair.fee_micros, -fee, **told)


def _changed(entry: GatewayEntry, first: GatewayEntry, pair: Booked | None, told: Mapping[str, Any]) -> Found:
    """What is missing of one that is not booked in its currency is told by another difference."""
    before = {
        name: [getattr(first, name), getattr(entry, name)]
        for name in ("type", "currency", "amount_micros", "fee_micros", "source")
        if getattr(first, name) != getattr(entry, name)
    }
    more = {**told, "changed": before}
    found = pair.net_micros if pair else 0
    off = entry.net_micros - found if pair else 0
    return _found(Kind.CHANGED, entry.id, entry.currency, entry.net_micros, found, off, **more)


def _twice(entry: GatewayEntry, booked: Sequence[Booked], refs: Sequence[str]) -> Iterator[Found]:
    """What other journals than the first say of an entry."""
    more: dict[str, int] = defaultdict(int)
    for each in booked:
        if each.ref != refs[0]:
            more[each.currency] += each.net_micros
    for currency, net in more.items():
        first = sum(each.net_micros for each in booked if each.ref == refs[0] and each.currency == currency)
        yield _found(Kind.TWICE, entry.id, currency, first, first + net, -net, journals=list(refs))


def _of_payouts(books: Books) -> Iterator[Found]:
    """Against a payout's own entry, and against its parts where they are known."""
    nets = {each.id: each for each in books.entries}
    left: dict[str, int] = defaultdict(int)
    for each in books.entries:
        if each.type == "payout":
            left[each.source] -= each.amount_micros
    for payout in books.payouts:
        sums = []
        if payout.at < books.settled_before:
            sums.append(left[payout.id])
        parts = [nets.get(part) for part in payout.parts or ()]
        if payout.parts is not None:
            sums.append(sum(part.net_micros for part in parts if part and part.type not in PAYOUT_TYPES))
        wrong = next((each for each in sums if each != payout.amount_micros), None)
        if wrong is not None:
            unknown = [part for part, known in zip(payout.parts or (), parts, strict=True) if known is None]
            yield _found(
                Kind.PAYOUT, payout.id, payout.currency, payout.amount_micros, wrong, 0, parts=len(parts),
                unknown_parts=unknown[:20],
            )  # fmt: skip


def _of_transit(books: Books) -> Iterator[Found]:
    for currency, (expected, found) in books.in_transit.items():
        if expected != found:
            yield _found(Kind.TRANSIT, "in_transit", currency, expected, found, 0)


def _of_balances(books: Books) -> Iterator[Found]:
    """The balance was read a moment before the list: it is the sum of the list up to some entry of that moment."""
    moments: dict[str, list[GatewayEntry]] = defaultdict(list)
    sums: dict[str, int] = defaultdict(int, books.left_out)
    for each in books.entries:
        if each.at < books.read_at - CLOCKS_APART:
            sums[each.currency] += each.net_micros
        else:
            moments[each.currency].append(each)
    for currency in sorted({*sums, *moments, *books.holdings}):
        held, total, at_last = books.holdings.get(currency, 0), sums[currency], sums[currency]
        fits = held == total
        for each in sorted(moments[currency], key=lambda entry: (entry.at, entry.id)):
            total += each.net_micros
            fits = fits or held == total
            at_last = total if each.at <= books.read_at else at_last
        if not fits:
            yield _found(Kind.BALANCE, "balance", currency, held, at_last, held - at_last)


def _unexplained(found: dict[Key, Found], accepted: Mapping[Key, Accepted]) -> list[Found]:
    """What is left of the differences after what was explained, and what was explained and is not there any more."""
    gone: dict[Key, int] = defaultdict(int)
    for key, before in accepted.items():
        if key not in found and key.kind is not Kind.OVERTAKEN and before.off_micros:
            gone[Key(Kind.OVERTAKEN, key.subject, key.currency)] -= before.off_micros
    for key, off in gone.items():
        found[key] = Found(key, 0, -off, off)
    for key, before in accepted.items():
        if key.kind is Kind.OVERTAKEN and key not in found and before.off_micros:
            found[key] = Found(key, 0, before.off_micros, 0)
    left = (_less(each, accepted.get(each.key)) for each in found.values())
    return [each for each in left if each is not None]


def _less(found: Found, before: Accepted | None) -> Found | None:
    if before is None:
        return found
    off = found.off_micros - before.off_micros
    same = (found.expected_micros, found.found_micros) == (before.expected_micros, before.found_micros)
    return None if not off and same else replace(found, off_micros=off)


def _found(kind: Kind, subject: str, currency: str, expected: int, found: int, off: int, **evidence: Any) -> Found:
    return Found(Key(kind, subject, currency), expected, found, off, evidence)
