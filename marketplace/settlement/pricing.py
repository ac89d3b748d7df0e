"""From usage to money: what to post next. Pure, cumulative, so that no split of the time changes the sum."""

from __future__ import annotations

from dataclasses import dataclass

from marketplace.book.pricing import charge_micros
from marketplace.ledger.fees import split_charge


@dataclass(frozen=True, slots=True)
class Posting:
    """What the next journal of a lease moves out of escrow: to the seller and to the platform."""

    seller_micros: int
    fee_micros: int

    @property
    def total_micros(self) -> int:
        return self.seller_micros + self.fee_micros


def next_posting(
    *,
    price_micros_per_gpu_hour: int,
    gpu_ms: int,
    escrow_micros: int,
    settled_micros: int,
    seller_micros: int,
    fee_basis_points: int,
) -> Posting:
    """What is due for `gpu_ms` so far, at most the escrow, minus what was posted; never less than nothing."""
    due = charge_micros(price_micros_per_gpu_hour=price_micros_per_gpu_hour, gpu_ms=gpu_ms)
    due = max(min(due, escrow_micros), settled_micros)
    seller_due, _ = split_charge(charge_micros=due, fee_basis_points=fee_basis_points)
    seller = seller_due - seller_micros
    return Posting(seller_micros=seller, fee_micros=due - settled_micros - seller)
