"""Where money came from: first in, first out through a firm's pockets. Pure; amounts are micros.

A pocket is an account of the paying firm: its wallet, what is held for an order, what is on its way back. What is spent
is the oldest, what returns to the wallet is the youngest and keeps its place there, and what goes back to a card or is
frozen for one is the money of that card first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """One inflow. `place` orders inflows by their coming; `seasoned_at` is None for what nobody can take back."""

    place: int
    name: str = ""  # the deposit
    seasoned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lot:
    """Some money of one inflow."""

    micros: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Move:
    """A journal as the firm sees it: account to micros, in the order of its entries, summing to zero.

    `origin` is what comes in from outside, `prefer` the deposit whose money is taken first.
    """

    at: datetime
    legs: tuple[tuple[int, int], ...]
    origin: Origin
    subject: str = ""
    prefer: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """What one account outside of the firm got by one move, and what it was made of."""

    at: datetime
    payee: int
    subject: str
    lots: tuple[Lot, ...]

    def unseasoned_micros(self, now: datetime) -> int:
        """What of it can still be taken back."""
        return sum(lot.micros for lot in self.lots if lot.origin.seasoned_at and lot.origin.seasoned_at > now)


OLD = Origin(0)  # what was there before anybody looks


class Pockets:
    """A firm's pockets; `held` is what each had before the first move, all of it OLD."""

    def __init__(self, *, wallet: int | None, held: Mapping[int, int]) -> None:
        self.wallet = wallet
        self.lots = {pocket: [Lot(micros, OLD)] if micros else [] for pocket, micros in held.items()}

    def micros_of(self, pocket: int, name: str) -> int:
        """What a pocket has of one deposit."""
        return sum(lot.micros for lot in self.lots.get(pocket, ()) if lot.origin.name == name)

    def apply(self, move: Move) -> list[Payment]:
        """Carry out a move; returns what was paid to others."""
        given = [(pocket, -micros) for pocket, micros in move.legs if micros < 0 and pocket in self.lots]
        got = [(pocket, micros) for pocket, micros in move.legs if micros > 0 and pocket in self.lots]
        out, into = sum(micros for _, micros in given), sum(micros for _, micros in got)
        returning = sum(micros for pocket, micros in got if pocket == self.wallet)
        front = max(0, out - returning)  # what goes anywhere but back into the wallet
        oldest: list[Lot] = []
        youngest: list[Lot] = []
        for pocket, micros in given:
            first = min(micros, front)
            oldest += self._take(pocket, first, move.prefer)
            youngest += self._take(pocket, micros - first, move.prefer, from_end=True)
            front -= first
        coming = [Lot(into - out, move.origin)] if into > out else []
        payments = self._pay(move, _ordered(oldest), max(0, out - into))
        left = _ordered(_after(_ordered(oldest), max(0, out - into)))
        pool = [*left, *coming, *_ordered(youngest)]
        for pocket, micros in sorted(got, key=lambda each: each[0] == self.wallet):
            part, pool = _cut(pool, micros)
            self.lots[pocket] = _ordered([*self.lots[pocket], *part])
        return payments

    def _pay(self, move: Move, pool: Sequence[Lot], leaving: int) -> list[Payment]:
        payments, pool = [], list(pool)
        for account, micros in move.legs:
            if account in self.lots or micros <= 0 or not leaving:
                continue
            part, pool = _cut(pool, min(micros, leaving))
            leaving -= sum(lot.micros for lot in part)
            payments.append(Payment(move.at, account, move.subject, tuple(part)))
        return payments

    def _take(self, pocket: int, micros: int, prefer: str, *, from_end: bool = False) -> list[Lot]:
        """The money of the deposit that is preferred first, then from the front, or from the end."""
        sign = -1 if from_end else 1
        lots = sorted(
            self.lots[pocket], key=lambda lot: (not prefer or lot.origin.name != prefer, sign * lot.origin.place)
        )
        taken, left = _cut(lots, micros)
        self.lots[pocket] = _ordered(left)
        return taken


def _ordered(lots: Sequence[Lot]) -> list[Lot]:
    """By their coming, with one lot per inflow."""
    summed: dict[Origin, int] = {}
    for lot in lots:
        summed[lot.origin] = summed.get(lot.origin, 0) + lot.micros
    return [Lot(micros, origin) for origin, micros in sorted(summed.items(), key=lambda each: each[0].place)]


def _after(lots: Sequence[Lot], micros: int) -> list[Lot]:
    return _cut(lots, micros)[1]


def _cut(lots: Sequence[Lot], micros: int) -> tuple[list[Lot], list[Lot]]:
    """The first `micros` of some lots, and the rest."""
    taken: list[Lot] = []
    for at, lot in enumerate(lots):
        part = min(lot.micros, micros)
        if part:
            taken.append(Lot(part, lot.origin))
            micros -= part
        if part < lot.micros:
            assert not micros
            return taken, [Lot(lot.micros - part, lot.origin), *lots[at + 1 :]]
    assert not micros, "a pocket holds what its account does"
    return taken, []
