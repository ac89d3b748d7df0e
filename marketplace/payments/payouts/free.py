"""How much of a seller's earnings may leave. Pure; amounts are micros."""

from __future__ import annotations

from dataclasses import dataclass

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Free:
    """`held_micros` is a new seller's rolling reserve; what left before counts against the oldest earnings.

    `unseasoned_micros` have cleared, but were paid with money that can still be taken back.
    """

    earnings_micros: int
    uncleared_micros: int
    held_micros: int
    unseasoned_micros: int = 0

    @property
    def free_micros(self) -> int:
        """What may be asked for."""
        return max(0, self.earnings_micros - self.uncleared_micros - self.held_micros - self.unseasoned_micros)


def free_of(
    *, earnings: int, uncleared: int, reserved_from: int, reserve_basis_points: int, unseasoned: int = 0
) -> Free:
    """`uncleared` were earned within the objection time, `reserved_from` within the reserve's, before that time.

    A share of a micro is held whole.
    """
    held = -(-reserved_from * reserve_basis_points // BASIS_POINTS)
    return Free(earnings, uncleared, held, unseasoned)
