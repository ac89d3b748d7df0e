"""Is the card what it says? The independent views against each other and against the catalogue. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nodes.passports.reading import (
    SAME_MEMORY_MIB,
    VIEWS,
    flag,
    number,
    part,
    test_of,
    text,
    views_of,
    whole_memory_mib,
)
from nodes.passports.rows import CatalogueRow
from nodes.passports.severity import Code, Finding, Severity

# Boards that were sold for mining: their compute or their link is cut, and some are flashed to pass as others.
MINING_DEVICE_IDS = frozenset(
    {"10de:1e09", "10de:1f0b", "10de:2081", "10de:2082", "10de:20c2", "10de:220d", "10de:248a"}
)
VIRTUAL_NAMES = ("grid ", "vgpu", " mig ", "mig-")
# The beginning of the VBIOS version by architecture, as seen on cards; a hint and no proof.
VBIOS_PREFIXES = {"Turing": {"90"}, "Ampere": {"92", "94"}, "Ada": {"95"}, "Hopper": {"96"}, "Blackwell": {"97", "98"}}
# CUDA's total is below NVML's by what the driver keeps: a share, and some hundred MiB on the smallest card.
CUDA_SHORTFALL_PERMILLE, CUDA_SHORTFALL_MIB = 50, 640
CORES_PER_UNIT = (64, 128)  # Pascal to Blackwell; older cards are not in the catalogue
EXACT = ("uuid", "pci_bus_id", "pci_device_id", "pci_subsystem_id", "compute_capability", "vbios")
FIT_HIGHEST_PERMILLE, FIT_LOWEST_PERMILLE = 1005, 920
SEEN_TOLERANCE_MIB = 64


def identity_findings(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    """Everything about who the card is."""
    yield from _simulated(body)
    yield from _disagreeing(body)
    yield from _other_memory(body)
    yield from _miscounted(body)
    yield from _missing(body)
    yield from _virtualised(body)
    yield from _mining(row, body)
    yield from _relabelled(row, body)
    yield from _memory(row, body)


def _simulated(body: Mapping[str, Any]) -> Iterator[Finding]:
    if flag(body, "agent", "simulated"):
        yield Finding(Code.SIMULATED, Severity.DISQUALIFYING)


def _disagreeing(body: Mapping[str, Any]) -> Iterator[Finding]:
    views = views_of(body)
    for name in EXACT:
        said = {view: value.lower() for view, each in views.items() if (value := text(each, name))}
        if len(set(said.values())) > 1:
            yield Finding(Code.VIEWS_DISAGREE, Severity.DISQUALIFYING, {"field": name} | said)
    names = {view: _plain(value) for view, each in views.items() if (value := text(each, "name"))}
    if len(set(names.values())) > 1:
        yield Finding(Code.VIEWS_DISAGREE, Severity.DISQUALIFYING, {"field": "name"} | names)
    nvml, cuda = number(body, "views", "nvml", "memory_total_mib"), number(body, "views", "cuda", "memory_total_mib")
    lowest = min((nvml or 0) * (1000 - CUDA_SHORTFALL_PERMILLE) // 1000, (nvml or 0) - CUDA_SHORTFALL_MIB)
    if nvml and cuda and not lowest <= cuda <= nvml * FIT_HIGHEST_PERMILLE // 1000:
        evidence = {"field": "memory_total_mib", "nvml": nvml, "cuda": cuda}
        yield Finding(Code.VIEWS_DISAGREE, Severity.DISQUALIFYING, evidence)


def _other_memory(body: Mapping[str, Any]) -> Iterator[Finding]:
    """A listing shows the memory of the inventory: what was measured must be that."""
    measured, told = (part(body, "views", view) for view in ("nvml", "inventory"))
    whole, listed = whole_memory_mib(measured), whole_memory_mib(told)
    if whole and listed and abs(whole - listed) > SAME_MEMORY_MIB:
        evidence = {view: number(each, "memory_total_mib") for view, each in (("nvml", measured), ("inventory", told))}
        yield Finding(Code.VIEWS_DISAGREE, Severity.DISQUALIFYING, {"field": "memory_total_mib"} | evidence)


def _miscounted(body: Mapping[str, Any]) -> Iterator[Finding]:
    """NVML counts cores, CUDA multiprocessors: an architecture has 64 or 128 of the one to the other."""
    cores, units = number(body, "views", "nvml", "cores"), number(body, "views", "cuda", "sm_count")
    if cores and units and cores not in {units * each for each in CORES_PER_UNIT}:
        yield Finding(Code.VIEWS_DISAGREE, Severity.DISQUALIFYING, {"field": "cores", "nvml": cores, "cuda": units})


def _missing(body: Mapping[str, Any]) -> Iterator[Finding]:
    """What is missing proves nothing against the card, and nothing for it: such a passport is only declared."""
    views = views_of(body)
    for name in VIEWS:
        if name not in views:
            yield Finding(Code.VIEW_MISSING, Severity.NOTE, {"view": name})
    health = part(body, "health")
    if "xids" in health and health["xids"] is None:
        yield Finding(Code.VIEW_MISSING, Severity.NOTE, {"view": "kernel_log"})


def _virtualised(body: Mapping[str, Any]) -> Iterator[Finding]:
    nvml = part(body, "views", "nvml")
    names = [
        value.lower() for view in views_of(body).values() for key in ("name", "uuid") if (value := text(view, key))
    ]
    signs = {
        "mig_enabled": bool(flag(nvml, "mig_enabled")),
        "virtualisation_mode": number(nvml, "virtualisation_mode") not in (None, 0),
        "virtual_function": bool(flag(body, "views", "pci", "is_virtual_function")),
        "hypervisor": bool(flag(body, "host", "hypervisor")),
        "name": any(word in name or name.startswith(word.strip()) for name in names for word in VIRTUAL_NAMES),
    }
    if seen := sorted(sign for sign, is_there in signs.items() if is_there):
        yield Finding(Code.VIRTUALISED, Severity.DISQUALIFYING, {"signs": seen})


def _mining(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    views = views_of(body)
    ids = {value for view in views.values() if (value := _device_id(view))} & MINING_DEVICE_IDS
    names = [value for view in views.values() if "cmp " in (value := (text(view, "name") or "").lower())]
    if ids or names:
        sold_as_such = any("cmp " in name.lower() for name in row.names)
        severity = Severity.LIMIT if sold_as_such else Severity.DISQUALIFYING
        yield Finding(Code.MINING_SKU, severity, {"pci_device_ids": sorted(ids), "names": sorted(set(names))})


def _relabelled(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    views = views_of(body)
    ids = {value for view in views.values() if (value := _device_id(view))}
    if not row.is_listed:
        yield Finding(Code.UNKNOWN_BOARD, Severity.DISQUALIFYING, {"pci_device_ids": sorted(ids)})
        return
    if row.pci_device_ids and (strange := ids - row.pci_device_ids):
        evidence = {"field": "pci_device_id", "measured": sorted(strange), "model": row.slug}
        yield Finding(Code.SKU_RELABELLED, Severity.DISQUALIFYING, evidence)
    names = {_plain(name) for name in row.names}
    for view, each in views.items():
        name = text(each, "name")
        if name and _plain(name) not in names:
            evidence = {"field": "name", "view": view, "measured": name[:100], "model": row.slug}
            yield Finding(Code.SKU_RELABELLED, Severity.DISQUALIFYING, evidence)
    yield from _another_chip(row, views)


def _another_chip(row: CatalogueRow, views: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    for view, each in views.items():
        capability = text(each, "compute_capability")
        if row.compute_capability and capability and capability != row.compute_capability:
            evidence = {"field": "compute_capability", "view": view, "measured": capability, "model": row.slug}
            yield Finding(Code.SKU_RELABELLED, Severity.DISQUALIFYING, evidence)
    prefix = (text(views.get("nvml"), "vbios") or "")[:2]
    known = VBIOS_PREFIXES.get(row.architecture)
    if prefix and known and prefix not in known:
        yield Finding(Code.VBIOS_UNUSUAL, Severity.NOTE, {"vbios": prefix, "architecture": row.architecture})


def _memory(row: CatalogueRow, body: Mapping[str, Any]) -> Iterator[Finding]:
    """A total that no factory board of the model has; whether the cells are there is the truth test's to say."""
    total = number(body, "views", "nvml", "memory_total_mib")
    if total and row.memory_sizes_mib and not _is_factory(row, total):
        evidence = {
            "measured_mib": total,
            "factory_mib": list(row.memory_sizes_mib),
            "bar1_mib": number(body, "views", "nvml", "bar1_total_mib"),
        }
        yield Finding(Code.MEMORY_MODIFIED, Severity.LIMIT, evidence)
    if covered := number(test_of(body, "memory_truth"), "mismatched_pages"):
        yield _untrue_memory(body, covered)


def _untrue_memory(body: Mapping[str, Any], mismatched: int) -> Finding:
    """Memory that wraps or is not there fails by the gigabyte, a bad cell by the page."""
    test = test_of(body, "memory_truth")
    pages = max(number(test, "pages") or 0, 1)
    is_absent = mismatched * 100 > pages
    evidence = {"mismatched_pages": mismatched, "pages": pages, "first_at_mib": number(test, "first_mismatch_mib")}
    if is_absent:
        return Finding(Code.MEMORY_OVERSTATED, Severity.DISQUALIFYING, evidence)
    return Finding(Code.MEMORY_ERRORS, Severity.FAULT, evidence)


def _is_factory(row: CatalogueRow, total: int) -> bool:
    seen = any(abs(total - each) <= SEEN_TOLERANCE_MIB for each in row.nvml_totals_mib)
    sizes = row.memory_sizes_mib
    return seen or any(size * FIT_LOWEST_PERMILLE <= total * 1000 <= size * FIT_HIGHEST_PERMILLE for size in sizes)


def _device_id(view: Mapping[str, Any]) -> str | None:
    value = text(view, "pci_device_id")
    return value.lower() if value else None


def _plain(name: str) -> str:
    return " ".join(name.lower().split()).removeprefix("nvidia ")
