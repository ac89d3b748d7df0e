"""What a passport says against a card, and how well the card works. Pure: the same passport, the same findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodes.passports.health_checks import health_findings
from nodes.passports.identity_checks import identity_findings
from nodes.passports.reading import number, part, test_of, text
from nodes.passports.rows import CatalogueRow
from nodes.passports.severity import Code, Finding, Severity

# What a source or a test must at least say: an object of other words has not spoken.
WORDS_OF_VIEWS = {
    "nvml": ("uuid", "name", "pci_device_id"),
    "driver": ("uuid",),
    "pci": ("pci_device_id",),
    "cuda": ("uuid", "compute_capability"),
}
NUMBERS_OF_VIEWS = {"nvml": ("memory_total_mib",), "cuda": ("memory_total_mib",)}
NUMBERS_OF_TESTS = {
    "memory_truth": ("covered_mib", "mismatched_pages"),
    "copy_bandwidth": ("device_mb_s",),
    "gemm": ("gflops", "side"),
    "pcie_link": (),  # a card without PCIe has no width to tell
    "soak": ("elapsed_ms", "wrong_results"),
}
REQUIRED_TESTS = tuple(NUMBERS_OF_TESTS)
SOAK_MS_MIN = 50_000  # less heats no card
COVERED_PERCENT_MIN = 80  # of the memory; what a driver and a display keep is less than the rest
DECLARED, MEASURED = "declared", "measured"
ORDER = list(Severity)

__all__ = ["DECLARED", "MEASURED", "REQUIRED_TESTS", "CatalogueRow", "Code", "Finding", "Severity", "findings",
           "function_grade", "tier"]  # fmt: skip


def findings(row: CatalogueRow, passport: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Everything that is not as with a healthy factory card of the row, the gravest first. `passport` is its body."""
    found = [*identity_findings(row, passport), *health_findings(row, passport)]
    return tuple(sorted(found, key=lambda each: (-ORDER.index(each.severity), each.code.value)))


def tier(passport: Mapping[str, Any]) -> str:
    """`measured` when every view spoke, every timed test ran and the memory was covered; else only a declaration."""
    complete = _all_spoke(part(passport, "views")) and all(
        test_of(passport, test) and _has_numbers(test_of(passport, test), names)
        for test, names in NUMBERS_OF_TESTS.items()
    )
    is_warm = (number(test_of(passport, "soak"), "elapsed_ms") or 0) >= SOAK_MS_MIN
    covered = number(test_of(passport, "memory_truth"), "covered_mib") or 0
    total = number(passport, "views", "nvml", "memory_total_mib") or 0
    is_covered = 0 < total * COVERED_PERCENT_MIN <= covered * 100
    return MEASURED if complete and is_warm and is_covered else DECLARED


def _all_spoke(views: Mapping[str, Any]) -> bool:
    words = all(text(views, view, name) for view, names in WORDS_OF_VIEWS.items() for name in names)
    return words and all(_has_numbers(part(views, view), names) for view, names in NUMBERS_OF_VIEWS.items())


def _has_numbers(said: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(number(said, name) is not None for name in names)


def function_grade(findings: Iterable[Finding], passport: Mapping[str, Any]) -> str:
    """F0 lab, nothing found; F1 the same by its seller or buyer; F2 limits; F3 faulty; FX not proven what it is."""
    gravest = max((ORDER.index(each.severity) for each in findings), default=0)
    if gravest == ORDER.index(Severity.DISQUALIFYING):
        return "FX"
    if gravest == ORDER.index(Severity.FAULT):
        return "F3"
    if tier(passport) != MEASURED:
        return "FX"
    if gravest == ORDER.index(Severity.LIMIT):
        return "F2"
    return "F0" if passport.get("role") == "lab" else "F1"
