"""What a round reads and what it says: frozen values, integers only.

Times are epoch seconds, durations seconds, prices integer micros per GPU-hour in the currency named beside them.
`seq` is the number the matcher gave the message: lower is older. `is_new` marks what arrived with this round.
"""

from __future__ import annotations

from dataclasses import dataclass

Interval = tuple[int, int]
"""[from, until) in epoch seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The market's constants: what a claim adds to the paid seconds, and the price tick in micros."""

    start_deadline_seconds: int = 600
    turnaround_seconds: int = 120
    tick_micros: int = 1_000

    @property
    def overhead_seconds(self) -> int:
        """What a claim holds beyond the paid seconds."""
        return self.start_deadline_seconds + self.turnaround_seconds


DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Slot:
    """One card of an ask and when it is free (disjoint, ascending, merged); `idle` says it may start now."""

    card: int
    free: tuple[Interval, ...]
    idle: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """Cards of one kind on one node, divisible in time and cards. `counts` are the takes allowed, None is any."""

    key: str
    seq: int
    seller: str
    listing: str
    node: str
    site: str
    region: str
    country: str
    currency: str
    gpu: str
    memory_mib: int
    slots: tuple[Slot, ...]
    price_micros: int
    window: Interval
    min_seconds: int
    max_seconds: int
    counts: frozenset[int] | None = None
    interruptible: bool = False
    tier: int = 0
    reliability_basis_points: int | None = None
    is_new: bool = False

    @property
    def age(self) -> tuple[int, str]:
        """Sorts older asks first."""
        return self.seq, self.key


@dataclass(frozen=True, slots=True)
class Bid:
    """A rectangle of `count` cards × `duration_seconds`, from `start` (None is now), up to a price cap.

    All or nothing unless `min_count` is given. An empty set of regions or countries allows any. A bid that accepts
    interruption may be given firm cards too. `same_node=False` spreads it over nodes of one seller's site.
    """

    key: str
    seq: int
    buyer: str
    models: frozenset[str]
    count: int
    duration_seconds: int
    cap_micros: int
    currency: str
    start: int | None = None
    same_node: bool = True
    min_count: int | None = None
    interruptible: bool = False
    regions: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    min_memory_mib: int = 0
    exclude_nodes: frozenset[str] = frozenset()
    min_tier: int = 0
    min_reliability_basis_points: int | None = None
    pinned_listing: str | None = None
    pinned_node: str | None = None
    pinned_memory_mib: int | None = None
    is_new: bool = False

    @property
    def least_count(self) -> int:
        """The fewest cards that fill it."""
        return self.count if self.min_count is None else self.min_count

    @property
    def priority(self) -> tuple[bool, int, int, str]:
        """Sorts first who is served first: firm, then the higher cap, then the older."""
        return self.interruptible, -self.cap_micros, self.seq, self.key

    def claim(self, *, now: int, rules: Rules) -> Interval:
        """What its cards must be free for: start deadline, paid seconds and turnaround, from its start."""
        start = now if self.start is None else self.start
        return start, start + self.duration_seconds + rules.overhead_seconds


@dataclass(frozen=True, slots=True)
class Fill:
    """Cards of one ask for one bid; a bid that is spread has one fill for each ask, all with the same claim."""

    bid: str
    ask: str
    cards: tuple[int, ...]
    price_micros: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RoundResult:
    """Fills in the order in which they were made, and the keys of the bids without one, by priority."""

    fills: tuple[Fill, ...]
    unfilled: tuple[str, ...]
