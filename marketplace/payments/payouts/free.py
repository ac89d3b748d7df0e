"""How much of a seller's earnings may leave. Pure; amounts are micros."""

from __future__ import annotations

from dataclasses import dataclass

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Free:
    """`held_micros` is a new seller's rolling reserve; what left before counts against the oldest earnings."""

    earnings_micros: int
    uncleared_micros: int
    held_micros: int

    @property
    def free_micros(self) -> int:
        """What may be asked for."""
        return max(0, self.earnings_micros - self.uncleared_micros - self.held_micros)


def free_of(*, earnings: int, uncleared: int, reserved_from: int, reserve_basis_points: int) -> Free:
    """`uncleared` were earned within the objection time, `reserved_from` within the reserve's, before that time.

    A share of a micro is held whole.
    """
    held = -(-reserved_from * reserve_basis_points // BASIS_POINTS)
    return Free(earnings, uncleared, held)
