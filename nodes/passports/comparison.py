"""Is the card that arrived the card that was sold, and as well? The seller's passport against the buyer's. Pure.

Nothing here convicts anybody: the buyer is root on the host that measured, so a difference opens a dispute and
no difference releases the money, because the buyer says it against his own interest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.passports.findings import MEASURED, tier
from nodes.passports.health_checks import FATAL_XIDS
from nodes.passports.identity import HBM_CAPABILITIES
from nodes.passports.reading import (
    SAME_MEMORY_MIB,
    flag,
    memory_without_ecc,
    number,
    numbers,
    part,
    test_of,
    text,
)

IDENTITY = ("uuid", "pci_device_id", "pci_subsystem_id", "serial", "board_part_number", "compute_capability", "vbios")
REQUIRED = frozenset({"uuid", "pci_device_id"})
GEMM_PERMILLE = 70  # of the seller's rate, both at the same clock


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same, or worse; `is_identity` when it says that this is another card."""

    code: str
    seller: Any
    buyer: Any
    is_identity: bool = False


def differences(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Empty: the same card, as healthy as it was sold. Both are bodies of passports that were verified."""
    return (*_identity(seller, buyer), *_memory(seller, buyer), *_tests(seller, buyer), *_health(seller, buyer))


def _identity(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    for name in IDENTITY:
        sold, came = text(seller, "views", "nvml", name), text(buyer, "views", "nvml", name)
        is_silent = came is None and sold is None
        if is_silent and name not in REQUIRED:
            continue
        if is_silent or (sold or "").lower() != (came or "").lower():
            yield Difference(name, sold, came, is_identity=True)


def _memory(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    sold, came = _total(seller), _total(buyer)
    if sold is None or came is None or abs(sold - came) > SAME_MEMORY_MIB:
        yield Difference("memory_total_mib", sold, came, is_identity=True)
    wrong = number(test_of(buyer, "memory_truth"), "mismatched_pages")
    if wrong:
        yield Difference("memory_truth", number(test_of(seller, "memory_truth"), "mismatched_pages"), wrong)


def _total(body: Mapping[str, Any]) -> int | None:
    nvml = part(body, "views", "nvml")
    total = number(nvml, "memory_total_mib")
    if total is None:
        return None
    inline = text(nvml, "compute_capability") not in HBM_CAPABILITIES
    return memory_without_ecc(total, ecc=flag(nvml, "ecc_enabled"), inline=inline)


def _tests(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    if tier(buyer) != MEASURED:
        yield Difference("not_measured", tier(seller), tier(buyer))
    sold, came = _rate_at_clock(seller), _rate_at_clock(buyer)
    if sold and came and came * 1000 < sold * (1000 - GEMM_PERMILLE):
        yield Difference("gemm", sold, came)
    if sold and came and came * 1000 > sold * (1000 + GEMM_PERMILLE):
        yield Difference("gemm", sold, came, is_identity=True)


def _rate_at_clock(body: Mapping[str, Any]) -> int | None:
    """Floating-point operations per clock: a card that is capped or cooler is not another card."""
    test = test_of(body, "gemm")
    rate, clock = number(test, "gflops"), number(test, "sm_clock_mhz")
    return rate * 1000 // clock if rate and clock else None


def _health(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> Iterator[Difference]:
    for name in ("correctable", "uncorrectable"):
        sold, came = (number(body, "health", "remapped_rows", name) or 0 for body in (seller, buyer))
        if came > sold:
            yield Difference(f"remapped_rows_{name}", sold, came)
    for name in ("failed", "pending"):
        sold_flag, came_flag = (bool(flag(body, "health", "remapped_rows", name)) for body in (seller, buyer))
        if came_flag and not sold_flag:
            yield Difference(f"remap_{name}", sold_flag, came_flag)
    fresh = sorted((_xids(buyer) - _xids(seller)) & FATAL_XIDS)
    if fresh:
        yield Difference("xid", sorted(_xids(seller)), fresh)


def _xids(body: Mapping[str, Any]) -> set[int]:
    return {*numbers(body, "health", "xids"), *numbers(test_of(body, "soak"), "xids")}
