"""The platform's fee comes out of the seller's share. Pure, cumulative: the two parts always sum to the charge."""

from __future__ import annotations

BASIS_POINTS = 10_000


def split_charge(*, charge_micros: int, fee_basis_points: int) -> tuple[int, int]:
    """(seller, fee) of a charge so far: the seller's share is rounded down, the fee is the rest."""
    seller = charge_micros * (BASIS_POINTS - fee_basis_points) // BASIS_POINTS
    return seller, charge_micros - seller
