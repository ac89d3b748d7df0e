"""What a passport says against a card, and how well the card works. Pure: the same passport, the same findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nodes.passports.health_checks import health_findings
from nodes.passports.identity_checks import identity_findings
from nodes.passports.reading import VIEWS, test_of, views_of
from nodes.passports.rows import CatalogueRow
from nodes.passports.severity import Code, Finding, Severity

REQUIRED_TESTS = ("memory_truth", "copy_bandwidth", "gemm", "pcie_link", "soak")
DECLARED, MEASURED = "declared", "measured"
ORDER = list(Severity)

__all__ = ["DECLARED", "MEASURED", "REQUIRED_TESTS", "CatalogueRow", "Code", "Finding", "Severity", "findings",
           "function_grade", "tier"]  # fmt: skip


def findings(row: CatalogueRow, passport: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Everything that is not as with a healthy factory card of the row, the gravest first. `passport` is its body."""
    found = [*identity_findings(row, passport), *health_findings(row, passport)]
    return tuple(sorted(found, key=lambda each: (-ORDER.index(each.severity), each.code.value)))


def tier(passport: Mapping[str, Any]) -> str:
    """`measured` when every view spoke and every timed test ran; else nothing but a declaration."""
    complete = set(VIEWS) <= set(views_of(passport)) and all(test_of(passport, name) for name in REQUIRED_TESTS)
    return MEASURED if complete else DECLARED


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
