"""A passport in words, for its page and its PDF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from marketplace.storefront import wording
from nodes.models import Passport
from nodes.passport_key import passport_public_key, short_code
from nodes.passports.reading import number, part, test_of, text
from nodes.selectors import is_blocked, is_newest

PROVES = (
    "The host's key signed exactly these measurements, after the market had given it a fresh number, and the market "
    "recorded them at that time. Each passport of a card names the hash of the one before: who kept a file sees "
    "whether an earlier one was changed or is missing.",
    "What NVML, the driver's own files, PCI config space and CUDA said agreed as far as the findings tell. Where a "
    "product was timed, the market computed the entries that were shown again.",
    "Leased hours are the market's own count; temperatures, Xids and row remaps are what the hosts' agents reported "
    "since it was first seen.",
)
PROVES_NOT = (
    "That the seller's host told the truth. Who is root on a machine can fake what software on it reports. The same "
    "test on your machine, after delivery, can't be faked by the seller: this is why the money waits for it.",
    "That the card was not mined with or overheated before it came to the market: no card has a meter of hours.",
    "What it looks like, who owns it, and how long it will last.",
)
GRADES = {
    "F0": "Measured by a lab; everything passed.",
    "F1": "Measured by its holder; everything passed.",
    "F2": "Works, with limits that are disclosed here.",
    "F3": "Faulty: for parts or repair.",
    "FX": "Not proven: the tests did not run, or it is not the card that it says.",
}
FINDINGS = {
    "memory_modified": "Its memory is not a size that the factory ships: the board was rebuilt.",
    "memory_overstated": "Less memory is there than it says: what was written did not come back.",
    "memory_errors": "Some pages of its memory did not hold what was written.",
    "sku_relabelled": "It is another model than the one it is sold as.",
    "mining_sku": "It was sold for mining, its compute or its link is cut.",
    "unknown_board": "No model of the catalogue is like it.",
    "vbios_unusual": "Its firmware's version is unusual for its architecture.",
    "virtualised": "It is a slice, a virtual GPU or passed through: not a card that can be sold.",
    "views_disagree": "Independent sources say different things of it.",
    "view_missing": "A source said nothing.",
    "simulated": "A simulator answered, no card.",
    "wrong_result": "It computed a wrong result, or none.",
    "rate_impossible": "It claims to be faster than any card of its model.",
    "compute_slow": "It computes slower than its model at this clock.",
    "bandwidth_low": "Its memory is slower than its model's.",
    "link_narrow": "Its link is narrower than card and slot allow.",
    "link_errors": "Its link had to send again.",
    "thermal": "It had to slow down for heat.",
    "remap_failure": "A row of its memory could not be replaced: the maker takes such cards back.",
    "remap_pending": "A row of its memory waits to be replaced.",
    "rows_remapped": "Rows of its memory were replaced after errors.",
    "pages_retired": "Pages of its memory were taken out of use.",
    "ecc_errors": "Its memory had errors that ECC saw.",
    "ecc_off": "ECC, which it is shipped with, is switched off.",
    "xid": "The driver reported faults of the card.",
}
TESTS = {
    "memory_truth": "Memory truth",
    "copy_bandwidth": "Copies on the card",
    "gemm": "Matrix product",
    "pcie_link": "Link under load",
    "soak": "Thermal soak",
}


WHY_LENGTH_MAX = 120


@dataclass(frozen=True, slots=True)
class Line:
    """Something and what is said of it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FindingLine:
    """A finding; `evidence` only for the card's owner."""

    severity: str
    words: str
    evidence: str


@dataclass(frozen=True, slots=True)
class PassportView:
    """What page and PDF show."""

    passport: Passport
    url: str
    card_code: str
    grade_words: str
    is_owner: bool
    is_expired: bool
    is_newest: bool
    is_blocked: bool
    findings: list[FindingLine]
    tests: list[Line]
    history: list[Line]
    memory_mib: int | None
    market_key: str


def passport_view(passport: Passport, *, is_owner: bool, now: datetime) -> PassportView:
    """Everything about a passport; read with its card and model. What names the card is for its owner alone."""
    body, record = passport.facts, passport.recorded
    return PassportView(
        passport=passport,
        url=settings.PUBLIC_URL + reverse("storefront:passport", args=[passport.public_id]),
        card_code=short_code(passport.card.uuid),
        grade_words=GRADES[passport.function_grade],
        is_owner=is_owner,
        is_expired=passport.expires_at <= now,
        is_newest=is_newest(passport),
        is_blocked=is_blocked(passport.card),
        findings=[_finding(each, is_owner=is_owner) for each in passport.findings],
        tests=[Line(TESTS[name], _test_words(name, body, is_owner=is_owner)) for name in TESTS],
        history=list(_history(part(record, "history"))),
        memory_mib=number(record, "memory_mib"),
        market_key=passport_public_key(),
    )


def finding_words(code: str) -> str:
    """What a finding means."""
    return FINDINGS.get(code) or wording.words(code)


def _finding(found: Mapping[str, Any], *, is_owner: bool) -> FindingLine:
    evidence = ", ".join(f"{name.replace('_', ' ')} {_said(value)}" for name, value in found["evidence"].items())
    return FindingLine(
        severity=found["severity"],
        words=finding_words(found["code"]),
        evidence=evidence[:300] if is_owner else "",
    )


def _printable(words: str) -> str:
    plain = "".join(each for each in words if each.isprintable())
    return plain if len(plain) <= WHY_LENGTH_MAX else f"{plain[:WHY_LENGTH_MAX]}…"


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else "–" if value is None else str(value)


def _test_words(name: str, body: Mapping[str, Any], *, is_owner: bool) -> str:
    if not (test := test_of(body, name)):
        # Why is the host's own text: on a page of ours, for everybody, it could say anything.
        why = _printable(text(body, "tests", name, "skipped") or "nothing was said")
        return f"did not run: {why}" if is_owner else "did not run"

    def said(key: str, unit: str, divisor: int = 1) -> str:
        value = number(test, key)
        return "–" if value is None else f"{value // divisor:,}{unit}".replace(",", "\N{NARROW NO-BREAK SPACE}")

    return {
        "memory_truth": f"{said('covered_mib', ' MiB')} written and read, {said('mismatched_pages', '')} pages wrong",
        "copy_bandwidth": f"{said('device_mb_s', ' GB/s', 1000)}",
        "gemm": f"{said('gflops', ' TFLOP/s', 1000)} in FP16 at {said('sm_clock_mhz', ' MHz')}",
        "pcie_link": f"×{said('width_under_load', '')} of ×{said('width_card', '')}, generation "
        f"{said('generation_under_load', '')}, {said('replays', '')} replays",
        "soak": f"{said('seconds', ' s')}, {said('temperature_max_c', ' °C')} at most, "
        f"{said('clock_late_mhz', ' MHz')} at the end",
    }[name]


def _history(history: Mapping[str, Any]) -> list[Line]:
    highest, power = number(history, "temperature_max_c"), number(history, "power_max_w")
    xids = history.get("xids") or []
    signs = [wording.words(name) for name in ("row_remap_pending", "row_remap_failed", "ecc_uncorrected",
             "hardware_slowdown") if history.get(name)]  # fmt: skip
    return [
        Line("First seen", (text(history, "first_seen_at") or "–")[:10]),
        Line("Leased", f"{number(history, 'hours_leased') or 0} h in {number(history, 'leases') or 0} leases"),
        Line("Reports read", str(number(history, "reports_seen") or 0)),
        Line("Hottest", "–" if highest is None else f"{highest} °C"),
        Line("Most power", "–" if power is None else f"{power} W"),
        Line("Xids", ", ".join(map(str, xids)) or "none seen"),
        Line("Memory and clocks", ", ".join(signs) or "nothing reported"),
    ]
