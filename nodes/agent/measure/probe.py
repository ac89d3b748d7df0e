"""Readings of one card while it is tested, and the counters of its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pynvml

from nodes.agent.nvml_calls import Signal, attempt
from nodes.agent.processes import pids_on

REASONS = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "sw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hw_power_brake",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A card at one moment; None where it does not say."""

    temperature_c: int | None
    sm_clock_mhz: int | None
    power_w: int | None
    fan_percent: int | None
    reasons: frozenset[str]
    link_width: int | None
    link_generation: int | None
    replays: int | None


class Probe:
    """NVML's readings of one card."""

    def __init__(self, handle: object) -> None:
        self._handle = handle

    def read(self) -> Reading:
        bits = self._ask("CurrentClocksEventReasons")
        if bits is None:
            bits = self._ask("CurrentClocksThrottleReasons")
        power = self._ask("PowerUsage")
        return Reading(
            temperature_c=self._ask("Temperature", pynvml.NVML_TEMPERATURE_GPU),
            sm_clock_mhz=self._ask("ClockInfo", pynvml.NVML_CLOCK_SM),
            power_w=None if power is None else power // 1000,
            fan_percent=self._ask("FanSpeed"),
            reasons=frozenset(name for bit, name in REASONS.items() if (bits or 0) & bit),
            link_width=self._ask("CurrPcieLinkWidth"),
            link_generation=self._ask("CurrPcieLinkGeneration"),
            replays=self._ask("PcieReplayCounter"),
        )

    def users(self) -> set[int]:
        """The processes that work on the card; empty where it does not list them."""
        return pids_on(self._handle) or set()

    def counters(self, name: str) -> dict[str, Any]:
        """ECC errors since ever, retired pages and remapped rows. Zeros of a GeForce mean nothing and are not kept."""
        errors = {
            f"ecc_{kind}": self._ask("TotalEccErrors", code, pynvml.NVML_AGGREGATE_ECC)
            for kind, code in (
                ("corrected", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
                ("uncorrected", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
            )
        }
        retired = [self._ask("RetiredPages", cause) for cause in range(2)]
        return errors | {
            "retired_pages": None if None in retired else sum(len(pages) for pages in retired),
            "remapped_rows": self._remapped(name),
        }

    def _remapped(self, name: str) -> dict[str, Any] | str | None:
        rows = self._ask("RemappedRows")
        if rows is None:
            return None
        if "geforce" in name.lower() and not any(rows):
            return "not_meaningful"
        return {
            "correctable": rows[0],
            "uncorrectable": rows[1],
            "pending": bool(rows[2]),
            "failed": bool(rows[3]),
        }

    def _ask(self, what: str, *arguments: Any) -> Any:
        return attempt(Signal(f"nvmlDeviceGet{what}", self._handle, *arguments))
