"""Is the card that arrived the card that was sold, and as well? The seller's passport against the buyer's. Pure.

Nothing here convicts anybody: the buyer is root on the host that measured, so a difference opens a dispute and
no difference releases the money, because the buyer says it against his own interest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.passports.findings import MEASURED, tier
from nodes.passports.health_checks import FATAL_XIDS, is_right
from nodes.passports.identity_checks import CUDA_SHORTFALL_MIB, CUDA_SHORTFALL_PERMILLE
from nodes.passports.reading import (
    SAME_MEMORY_MIB,
    flag,
    number,
    numbers,
    part,
    test_of,
    text,
    whole_memory_mib,
)
from nodes.passports.severity import Code, Severity

IDENTITY = ("uuid", "pci_device_id", "pci_subsystem_id", "serial", "board_part_number", "compute_capability", "vbios")
NOT_MEASURED, FOUND_FAULTS, FOUND_LIMITS = "not_measured", "found_faults", "found_limits"
GRAVE = frozenset({Severity.FAULT, Severity.DISQUALIFYING})
OF_THE_HOST = frozenset({Code.VIRTUALISED, Code.ECC_OFF, Code.SIMULATED})
REQUIRED = frozenset({"uuid", "pci_device_id"})
GEMM_PERMILLE = 70  # of the seller's rate, both at the same clock
COPY_PERMILLE = 150  # of the seller's rate: ECC that was switched takes some
# A board whose NVML is made to lie tells other sources the truth. Of what is silent on one side nothing is said.
OTHER_VIEWS = {
    "driver": ("uuid", "vbios"),
    "pci": ("pci_device_id", "pci_subsystem_id"),
    "cuda": ("uuid", "compute_capability"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same, or worse; `is_identity` when it says that this is another card."""

    code: str
    seller: Any
    buyer: Any
    is_identity: bool = False


def differences(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Empty: the same card, as healthy as it was sold. Both are bodies of passports that were verified."""
    return (
        *_identity(seller, buyer),
        *_other_views(seller, buyer),
        *_memory(seller, buyer),
        *_tests(seller, buyer),
        *_health(seller, buyer),
    )


def new_findings(seller: Iterable[Mapping[str, Any]], buyer: Iterable[Mapping[str, Any]]) -> Iterator[Difference]:
    """What was found with the buyer and not with the seller, both as they are recorded.

    A host makes some of it: of a card that gets hot or a link that sends again, air and slot may be the cause.
    """
    known = {each["code"] for each in seller}
    fresh = [each for each in buyer if each["code"] not in known | OF_THE_HOST]
    for code, severities in ((FOUND_FAULTS, GRAVE), (FOUND_LIMITS, {Severity.LIMIT})):
        if found := sorted(each["code"] for each in fresh if each["severity"] in severities):
            yield Difference(code, "none", ", ".join(found).replace("_", " "))


def _identity(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    for name in IDENTITY:
        sold, came = text(seller, "views", "nvml", name), text(buyer, "views", "nvml", name)
        is_silent = came is None and sold is None
        if is_silent and name not in REQUIRED:
            continue
        if is_silent or (sold or "").lower() != (came or "").lower():
            yield Difference(name, sold, came, is_identity=True)


def _other_views(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    for view, names in OTHER_VIEWS.items():
        for name in names:
            sold, came = text(seller, "views", view, name), text(buyer, "views", view, name)
            if sold and came and sold.lower() != came.lower():
                yield Difference(f"{view}.{name}", sold, came, is_identity=True)
    sold_units, units = (number(body, "views", "cuda", "sm_count") for body in (seller, buyer))
    if sold_units and units and sold_units != units:
        yield Difference("cuda.sm_count", sold_units, units, is_identity=True)
    sold_mib, mib = (number(body, "views", "cuda", "memory_total_mib") for body in (seller, buyer))
    is_switched = len({flag(body, "views", "nvml", "ecc_enabled") for body in (seller, buyer)}) > 1
    if sold_mib and mib and not is_switched and abs(sold_mib - mib) > _driver_share(sold_mib, mib):
        yield Difference("cuda.memory_total_mib", sold_mib, mib, is_identity=True)


def _driver_share(*totals: int) -> int:
    """What a driver keeps for itself, in MiB: it differs from one version to the next."""
    return max(CUDA_SHORTFALL_MIB, max(totals) * CUDA_SHORTFALL_PERMILLE // 1000)


def _memory(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    sold, came = (whole_memory_mib(part(body, "views", "nvml")) for body in (seller, buyer))
    if sold is None or came is None or abs(sold - came) > SAME_MEMORY_MIB:
        yield Difference("memory_total_mib", sold, came, is_identity=True)
    yield from _more("memory_truth", seller, buyer, "tests", "memory_truth", "mismatched_pages")


def _tests(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    if tier(buyer) != MEASURED:
        yield Difference(NOT_MEASURED, tier(seller), tier(buyer))
    sold, came = _rate_at_clock(seller), _rate_at_clock(buyer)
    if sold and came and came * 1000 < sold * (1000 - GEMM_PERMILLE):
        yield Difference("gemm", sold, came)
    if sold and came and came * 1000 > sold * (1000 + GEMM_PERMILLE):
        yield Difference("gemm", sold, came, is_identity=True)
    if test_of(buyer, "gemm") and not is_right(buyer):
        yield Difference("arithmetic", is_right(seller), False)
    sold, came = (number(test_of(body, "copy_bandwidth"), "device_mb_s") for body in (seller, buyer))
    if sold and came is not None and came * 1000 < sold * (1000 - COPY_PERMILLE):
        yield Difference("copy_bandwidth", sold, came)
    yield from _more("soak", seller, buyer, "tests", "soak", "wrong_results")


def _rate_at_clock(body: Mapping[str, Any]) -> int | None:
    """Floating-point operations per clock: a card that is capped or cooler is not another card."""
    test = test_of(body, "gemm")
    rate, clock = number(test, "gflops"), number(test, "sm_clock_mhz")
    return rate * 1000 // clock if rate and clock else None


def _more(code: str, seller: Mapping[str, Any], buyer: Mapping[str, Any], *path: str) -> Iterator[Difference]:
    """Of something bad; a count that is not said is none."""
    sold, came = (number(body, *path) or 0 for body in (seller, buyer))
    if came > sold:
        yield Difference(code, sold, came)


def _health(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    for name in ("correctable", "uncorrectable"):
        yield from _more(f"remapped_rows_{name}", seller, buyer, "health", "remapped_rows", name)
    for name in ("retired_pages", "ecc_uncorrected"):
        yield from _more(name, seller, buyer, "health", name)
    for name in ("failed", "pending"):
        sold_flag, came_flag = (bool(flag(body, "health", "remapped_rows", name)) for body in (seller, buyer))
        if came_flag and not sold_flag:
            yield Difference(f"remap_{name}", sold_flag, came_flag)
    fresh = sorted((_xids(buyer) - _xids(seller)) & FATAL_XIDS)
    if fresh:
        yield Difference("xid", sorted(_xids(seller)), fresh)


def _xids(body: Mapping[str, Any]) -> set[int]:
    return {*numbers(body, "health", "xids"), *numbers(test_of(body, "soak"), "xids")}
