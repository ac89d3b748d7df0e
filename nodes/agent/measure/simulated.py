"""A scripted host: its files under a root, and CUDA devices that are what their script says they truly are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from nodes.agent.fleet import ScriptedCard
from nodes.agent.measure.cuda import CudaError, During, Numbers
from nodes.agent.measure.hardware import Hardware, hardware_of
from nodes.agent.measure.suite import SOAK_SECONDS, SOAK_SECONDS_QUICK
from nodes.agent.measure.views import bus_of
from nodes.agent.passport import entry_of, sampled_places

PAGE_KIB = 4
SIDE = 1024
DRIVER_SHARE_MIB = 340  # what CUDA's total is below NVML's
SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0", 6: "64.0"}


def write_host(root: Path, cards: Sequence[ScriptedCard], driver: str) -> None:
    """The files that a host with these cards has."""
    flags = "fpu sse2 avx2" + (" hypervisor" if any(hardware_of(card).hypervisor for card in cards) else "")
    _write(root / "proc/cpuinfo", f"model name\t: Scripted CPU\nflags\t\t: {flags}\n")
    _write(root / "sys/class/dmi/id/board_name", "Scripted board\n")
    _write(root / "proc/driver/nvidia/version", f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}\n")
    lines = []
    for number, card in enumerate(cards):
        bus, hardware = bus_of(card.pci_bus) or "", hardware_of(card)
        if "driver" not in hardware.hidden:
            _write(root / "proc/driver/nvidia/gpus" / bus / "information", _information(card, hardware, bus, number))
        if "pci" not in hardware.hidden:
            _write_pci(root, card, hardware, bus, number)
        lines += [f"NVRM: Xid (PCI:{bus[:-2]}): {xid}, pid=1\n" for xid in hardware.kernel_log_xids]
    _write(root / "var/log/kern.log", "".join(lines))


def _information(card: ScriptedCard, hardware: Hardware, bus: str, number: int) -> str:
    return (
        f"Model: \t\t {hardware.driver_name or card.name}\n"
        f"IRQ:   \t\t {100 + number}\n"
        f"GPU UUID: \t {hardware.driver_uuid or card.uuid}\n"
        f"Video BIOS: \t {hardware.driver_vbios or card.vbios}\n"
        f"Bus Type: \t PCIe\nBus Location: \t {bus}\nDevice Minor: \t {number}\n"
    )


def _write_pci(root: Path, card: ScriptedCard, hardware: Hardware, bus: str, number: int) -> None:
    slot = root / f"sys/devices/pci0000:00/0000:00:{number % 32:02x}.{number // 32}"
    folder = slot / bus
    config = bytearray(64)
    for at, pair in (
        (0, hardware.pci_device or card.pci_device),
        (0x2C, hardware.pci_subsystem or card.pci_subsystem),
    ):
        vendor, device = pair.split(":")
        config[at : at + 4] = int(vendor, 16).to_bytes(2, "little") + int(device, 16).to_bytes(2, "little")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config").write_bytes(config)
    for where, width, generation in (
        (folder, card.pcie_width_max, card.pcie_generation_max),
        (slot, hardware.slot_width, hardware.slot_generation),
    ):
        _write(where / "max_link_width", f"{width}\n")
        _write(where / "max_link_speed", f"{SPEEDS[generation]} GT/s PCIe\n")
    if hardware.virtual_function:
        (folder / "physfn").mkdir(exist_ok=True)
    link = root / "sys/bus/pci/devices" / bus
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(folder.resolve())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class SimulatedCuda:
    """The devices of a scripted fleet."""

    def __init__(self, cards: Callable[[], Sequence[ScriptedCard]], *, is_quick: bool = True) -> None:
        self._cards = cards
        self._seconds = SOAK_SECONDS_QUICK if is_quick else SOAK_SECONDS

    def open(self, uuid: str) -> SimulatedCard:
        """The device; raises CudaError when it is hidden or not there."""
        for card in self._cards():
            if card.uuid == uuid and "cuda" not in hardware_of(card).hidden:
                return SimulatedCard(card, self._seconds)
        raise CudaError("CUDA sees no such device")


class SimulatedCard:
    """A device that takes no time and says what its script says; a second of soak is claimed as a second."""

    def __init__(self, card: ScriptedCard, soak_seconds: int) -> None:
        self._card = card
        self._hardware = hardware_of(card)
        self._soak_seconds = soak_seconds
        self._wrong = self._hardware.soak_wrong

    def facts(self) -> Numbers:
        card, hardware = self._card, self._hardware
        total = hardware.cuda_memory_mib
        return {
            "uuid": hardware.cuda_uuid or card.uuid,
            "name": hardware.cuda_name or card.name,
            "pci_bus_id": bus_of(card.pci_bus),
            "compute_capability": hardware.compute_capability or card.compute_capability,
            "memory_total_mib": max(card.memory_total_mib - DRIVER_SHARE_MIB, 0) if total is None else total,
            "sm_count": hardware.sm_count,
        }

    def memory_truth(self, nonce: bytes, *, patterns: int) -> Numbers:
        """What does not exist wraps: every page above the true end answers with another page's words."""
        covered = int(self.facts()["memory_total_mib"]) * 96 // 100
        missing = max(covered - (self._hardware.cells_mib or covered), 0)
        pages = missing * 1024 // PAGE_KIB + self._hardware.bad_pages
        return {
            "covered_mib": covered,
            "pages": covered * 1024 // PAGE_KIB,
            "patterns": patterns,
            "mismatched_pages": pages,
            "first_mismatch_mib": None if not pages else self._hardware.cells_mib or 0,
        }

    def copies(self, during: During) -> Numbers:
        during()
        return {"device_mb_s": self._hardware.bandwidth_mb_s, "to_device_mb_s": 25_000, "to_host_mb_s": 25_000}

    def product(self, nonce: bytes, during: During) -> Numbers:
        during()
        digest = hashlib.sha256(b"simulated" + nonce).hexdigest()
        shown = [entry_of(nonce, row, column, SIDE) for row, column in sampled_places(nonce, digest, SIDE)]
        if self._hardware.is_wrong:
            shown = [value + 1 for value in shown]
        return {
            "side": SIDE,
            "gflops": self._hardware.gflops,
            "sm_clock_mhz": self._hardware.sm_clock_mhz,
            "product_sha256": digest,
            "samples": shown,
        }

    def work(self, seconds: float) -> int:
        wrong, self._wrong = self._wrong, 0
        return wrong

    def load(self) -> Numbers:
        hardware = self._hardware
        return {
            "elapsed_ms": self._soak_seconds * 1000,
            "temperature_max_c": hardware.soak_temperature_c,
            "clock_early_mhz": hardware.sm_clock_mhz,
            "clock_late_mhz": hardware.soak_clock_mhz or hardware.sm_clock_mhz,
            "reasons": sorted(hardware.soak_reasons),
            "xids": sorted(hardware.soak_xids),
        }

    def close(self) -> None:
        """Nothing is held."""
