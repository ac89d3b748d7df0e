"""The timed tests, one after the other. A test that can't run says why; none of them judges: that is the market's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nodes.agent.measure.cuda import CudaCard, CudaError, Numbers
from nodes.agent.measure.probe import Probe, Reading

TESTS = ("memory_truth", "copy_bandwidth", "gemm", "pcie_link", "soak")
SOAK_SECONDS, SOAK_SECONDS_QUICK = 900, 60
EARLY_SECONDS = 120  # warm by then; the clock that it holds from here on is compared
PATTERNS, PATTERNS_QUICK = 3, 1


class Disturbed(CudaError):
    """Somebody else came to the card: the tests end, and leave it to him."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One card with what the tests need."""

    card: CudaCard
    probe: Probe
    slot: dict[str, Any]
    nonce: bytes
    is_quick: bool
    say: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic

    def run(self) -> dict[str, Numbers]:
        """Every test's numbers by its name."""
        found: dict[str, Numbers] = {}
        link: list[Reading] = []
        ours = self.probe.users()  # by the driver's numbers, which in a container are not this process's own
        steps: dict[str, Callable[[], Numbers]] = {
            "memory_truth": lambda: self.card.memory_truth(
                self.nonce, patterns=PATTERNS_QUICK if self.is_quick else PATTERNS
            ),
            "copy_bandwidth": lambda: self._copies(link),
            "gemm": self._product,
            "pcie_link": lambda: self._link(link),
            "soak": lambda: self._soak(ours),
        }
        for name, step in steps.items():
            self.say(f"{name} …")
            found[name] = self._timed(step, ours)
        return found

    def _timed(self, step: Callable[[], Numbers], ours: set[int]) -> Numbers:
        begun = self.clock()
        try:
            self._check_alone(ours)
            numbers = step()
        except CudaError as error:
            return {"skipped": str(error)[:200]}
        return {"elapsed_ms": round((self.clock() - begun) * 1000)} | numbers

    def _check_alone(self, ours: set[int]) -> None:
        if self.probe.users() - ours:
            raise Disturbed("somebody began to use the card")

    def _copies(self, link: list[Reading]) -> Numbers:
        link.append(self.probe.read())
        numbers = self.card.copies(lambda: link.append(self.probe.read()))
        link.append(self.probe.read())
        return numbers

    def _product(self) -> Numbers:
        seen: list[Reading] = []
        numbers = self.card.product(self.nonce, lambda: seen.append(self.probe.read()))
        return {"sm_clock_mhz": _median(seen)} | numbers

    def _link(self, link: list[Reading]) -> Numbers:
        """Width and generation under load, when they are at their highest; replays over the copies."""
        if len(link) < 3:
            raise CudaError("no copies were made")
        before, *during, after = link
        grown = None if before.replays is None or after.replays is None else after.replays - before.replays
        return {
            "width_under_load": max((each.link_width or 0 for each in during), default=0) or None,
            "generation_under_load": max((each.link_generation or 0 for each in during), default=0) or None,
            "replays": grown,
        } | {name: self.slot.get(name) for name in ("width_card", "width_slot", "generation_card", "generation_slot")}

    def _soak(self, ours: set[int]) -> Numbers:
        """A reading a second; on a card that is slow for its work fewer, so that it takes no longer."""
        seconds = SOAK_SECONDS_QUICK if self.is_quick else SOAK_SECONDS
        readings: list[Reading] = []
        wrong, begun = 0, self.clock()
        while len(readings) < seconds and self.clock() - begun < seconds:
            wrong += self.card.work(1.0)
            self._check_alone(ours)
            readings.append(self.probe.read())
        early_at = min(EARLY_SECONDS * len(readings) // seconds, len(readings) // 3)
        reasons = sorted({reason for each in readings for reason in each.reasons})
        numbers = {
            "seconds": seconds,
            "wrong_results": wrong,
            "temperature_max_c": _highest(each.temperature_c for each in readings),
            "power_max_w": _highest(each.power_w for each in readings),
            "fan_max_percent": _highest(each.fan_percent for each in readings),
            "clock_early_mhz": _median(readings[early_at : early_at + 10]),
            "clock_late_mhz": _median(readings[-10:]),
            "reasons": reasons,
        }
        return numbers | self.card.load()


def _highest(values: Any) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _median(readings: list[Reading]) -> int | None:
    clocks = sorted(each.sm_clock_mhz for each in readings if each.sm_clock_mhz)
    return clocks[len(clocks) // 2] if clocks else None
