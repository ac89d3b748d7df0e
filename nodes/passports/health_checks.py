"""Is the card well? Counters of its memory, and what the timed tests measured. Pure.

Zero is no evidence where the counter does not exist: a GeForce answers zeros for remapped rows, so its agent writes
`not_meaningful` there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nodes.agent.passport import is_right_product
from nodes.passports.reading import flag, number, numbers, part, test_of, text, texts
from nodes.passports.rows import CatalogueRow
from nodes.passports.severity import Code, Finding, Severity

HEX64 = re.compile(r"[0-9a-f]{64}")
FATAL_XIDS = frozenset({48, 64, 74, 79, 92, 94, 95, 119})
# Application faults say nothing about the card.
HARMLESS_XIDS = frozenset({8, 13, 31, 43, 45, 68, 109})
HEAT_REASONS = frozenset({"hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown"})
GEMM_PERMILLE_MIN = 700  # of the row's rate at the clock that was measured
COPY_PERMILLE_MIN, COPY_PERMILLE_FAULT = 800, 650
GEMM_PERMILLE_MAX, COPY_PERMILLE_MAX = 1350, 1150  # no factory card is faster than this
STEADY_PERMILLE_MIN = 950
STEADY_CLOCK_MHZ_DROP = 60


def health_findings(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about how well the card is."""
    yield from _counters(part(body, "health"))
    yield from _ecc(body)
    yield from _xids(numbers(body, "health", "xids"), numbers(test_of(body, "soak"), "xids"))
    yield from _copies(row, test_of(body, "copy_bandwidth"))
    yield from _products(row, body)
    yield from _link(body)
    yield from _heat(test_of(body, "soak"))


def _counters(health: Mapping[str, Any]) -> Iterator[Finding]:
    remapped = part(health, "remapped_rows")
    if flag(remapped, "failed"):
        yield Finding(Code.REMAP_FAILURE, Severity.FAULT, dict(remapped))
    if flag(remapped, "pending"):
        yield Finding(Code.REMAP_PENDING, Severity.LIMIT, dict(remapped))
    if (number(remapped, "uncorrectable") or 0) > 0:
        yield Finding(Code.ROWS_REMAPPED, Severity.LIMIT, dict(remapped))
    if retired := number(health, "retired_pages"):
        yield Finding(Code.PAGES_RETIRED, Severity.LIMIT, {"retired_pages": retired})
    corrected, uncorrected = number(health, "ecc_corrected"), number(health, "ecc_uncorrected")
    if corrected or uncorrected:
        yield Finding(Code.ECC_ERRORS, Severity.LIMIT, {"corrected": corrected or 0, "uncorrected": uncorrected or 0})


def _ecc(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Only a card that the factory ships with ECC on and that runs with it off: others honestly run without."""
    nvml = part(body, "views", "nvml")
    if flag(nvml, "ecc_default") and flag(nvml, "ecc_enabled") is False:
        yield Finding(Code.ECC_OFF, Severity.LIMIT, {"memory_total_mib": number(nvml, "memory_total_mib")})


def _xids(before: Sequence[int], during: Sequence[int]) -> Iterator[Finding]:
    telling = sorted((set(before) | set(during)) - HARMLESS_XIDS)
    if telling:
        severity = Severity.FAULT if FATAL_XIDS & set(telling) else Severity.LIMIT
        yield Finding(Code.XID, severity, {"xids": telling[:20]})


def _copies(row: CatalogueRow, test: Mapping[str, Any]) -> Iterator[Finding]:
    measured, expected = number(test, "device_mb_s"), row.memory_bandwidth_mb_s
    if measured is None or not expected:
        return
    evidence = {"measured_mb_s": measured, "factory_mb_s": expected}
    if measured * 1000 > expected * COPY_PERMILLE_MAX:
        yield Finding(Code.RATE_IMPOSSIBLE, Severity.DISQUALIFYING, evidence)
    elif measured * 1000 < expected * COPY_PERMILLE_FAULT:
        yield Finding(Code.BANDWIDTH_LOW, Severity.FAULT, evidence)
    elif measured * 1000 < expected * COPY_PERMILLE_MIN:
        yield Finding(Code.BANDWIDTH_LOW, Severity.LIMIT, evidence)


def _products(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    test = test_of(body, "gemm")
    measured, expected = number(test, "gflops"), row.fp16_dense_gflops
    if test and not is_right(body):
        yield Finding(Code.WRONG_RESULT, Severity.DISQUALIFYING, {"by": "gemm"})
    if measured is None or not expected:
        return
    clock, highest = number(test, "sm_clock_mhz"), number(body, "views", "nvml", "sm_clock_max_mhz")
    at_clock = expected * clock // highest if clock and highest and clock < highest else expected
    evidence = {"measured_gflops": measured, "factory_gflops": expected, "at_clock_gflops": at_clock}
    if measured * 1000 > expected * GEMM_PERMILLE_MAX:
        yield Finding(Code.RATE_IMPOSSIBLE, Severity.DISQUALIFYING, evidence)
    elif measured * 1000 < at_clock * GEMM_PERMILLE_MIN:
        yield Finding(Code.COMPUTE_SLOW, Severity.FAULT, evidence)


def is_right(body: Mapping[str, Any]) -> bool:
    """The entries of the product that were shown, computed again from the nonce."""
    test = test_of(body, "gemm")
    nonce, digest, side = text(body, "nonce"), text(test, "product_sha256"), number(test, "side")
    if nonce is None or digest is None or side is None or not HEX64.fullmatch(nonce):
        return False
    return is_right_product(bytes.fromhex(nonce), digest, side, numbers(test, "samples"))


def _link(body: Mapping[str, Any]) -> Iterator[Finding]:
    """Width and generation under load against what card and slot can both do; a narrow slot is no fault of the card."""
    test = test_of(body, "pcie_link")
    for name in ("width", "generation"):
        now = number(test, f"{name}_under_load")
        caps = [each for each in (number(test, f"{name}_card"), number(test, f"{name}_slot")) if each]
        if now and caps and now < min(caps):
            yield Finding(Code.LINK_NARROW, Severity.LIMIT, {"field": name, "under_load": now, "possible": min(caps)})
    if replays := number(test, "replays"):
        yield Finding(Code.LINK_ERRORS, Severity.LIMIT, {"replays": replays, "seconds": number(test, "seconds")})


def _heat(test: Mapping[str, Any]) -> Iterator[Finding]:
    reasons = texts(test, "reasons")
    hot = sorted(HEAT_REASONS.intersection(reasons))
    early, late = number(test, "clock_early_mhz"), number(test, "clock_late_mhz")
    sags = bool(
        early and late and late * 1000 < early * STEADY_PERMILLE_MIN and early - late > STEADY_CLOCK_MHZ_DROP
        and "sw_power_cap" not in reasons
    )  # fmt: skip
    if hot or sags:
        evidence = {
            "reasons": hot,
            "temperature_max_c": number(test, "temperature_max_c"),
            "clock_early_mhz": early,
            "clock_late_mhz": late,
        }
        yield Finding(Code.THERMAL, Severity.LIMIT, evidence)
    if wrong := number(test, "wrong_results"):
        yield Finding(Code.WRONG_RESULT, Severity.FAULT, {"by": "soak", "count": wrong})
