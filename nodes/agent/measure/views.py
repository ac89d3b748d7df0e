"""What independent sources say of one card: NVML, the driver's files under /proc, and PCI config space.

A root stands before every path, so that a scripted host can be read as a real one is. A source that is not there, or
is not readable, is None: the passport says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pynvml

from nodes.agent.identity import card_identity
from nodes.agent.nvml_calls import Signal, attempt

INFORMATION = {"Model": "name", "GPU UUID": "uuid", "Video BIOS": "vbios"}
CONFIG_BYTES = 64
PCI_BUS = re.compile(r"(?:[0-9a-f]{4})?([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])", re.IGNORECASE)
SPEEDS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}


def bus_of(text: str | None) -> str | None:
    """`0000:01:00.0` of a bus id however it is written; NVML's domain has eight digits."""
    found = PCI_BUS.fullmatch(text or "")
    return found[1].lower() if found else None


def nvml_view(index: int, handle: object, uuid: str) -> dict[str, Any]:
    """Everything that NVML says of who the card is."""
    mig = attempt(Signal("nvmlDeviceGetMigMode", handle))
    card = card_identity(index, handle, uuid, bool(mig[0]) if mig else None)
    default = attempt(Signal("nvmlDeviceGetDefaultEccMode", handle))
    return {
        "uuid": card.uuid,
        "name": card.name,
        "pci_bus_id": bus_of(card.pci_bus_id),
        "pci_device_id": card.pci_device_id,
        "pci_subsystem_id": card.pci_subsystem_id,
        "serial": card.serial,
        "board_part_number": card.board_part_number,
        "vbios": card.vbios,
        "compute_capability": card.compute_capability,
        "memory_total_mib": card.memory_total_mib,
        "bar1_total_mib": card.bar1_total_mib,
        "power_limit_w": card.power_limit_w,
        "ecc_enabled": card.ecc_enabled,
        "ecc_default": bool(default[0]) if default else None,
        "mig_enabled": card.mig_enabled,
        "virtualisation_mode": attempt(Signal("nvmlDeviceGetVirtualizationMode", handle)),
        "cores": attempt(Signal("nvmlDeviceGetNumGpuCores", handle)),
        "memory_bus_bits": attempt(Signal("nvmlDeviceGetMemoryBusWidth", handle)),
        "sm_clock_max_mhz": attempt(Signal("nvmlDeviceGetMaxClockInfo", handle, pynvml.NVML_CLOCK_SM)),
        "pcie_width_max": card.pcie_width_max,
        "pcie_generation_max": card.pcie_generation_max,
        "inforom": _text(attempt(Signal("nvmlDeviceGetInforomImageVersion", handle))),
    }


def driver_view(root: Path, bus: str | None) -> dict[str, Any] | None:
    """The kernel module's own file of the card."""
    try:
        lines = (root / "proc/driver/nvidia/gpus" / str(bus) / "information").read_text().splitlines()
    except OSError:
        return None
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    view = {field: value for name, field in INFORMATION.items() if (value := said.get(name)) and "?" not in value}
    return view | {"pci_bus_id": bus_of(said.get("Bus Location"))} if view else None


def pci_view(root: Path, bus: str | None) -> dict[str, Any] | None:
    """PCI config space, read as bytes, and what the slot above the card can do."""
    folder = root / "sys/bus/pci/devices" / str(bus)
    try:
        config = (folder / "config").read_bytes()
    except OSError:
        return None
    if len(config) < CONFIG_BYTES:
        return None
    slot = folder.resolve().parent
    return {
        "pci_bus_id": bus,
        "pci_device_id": _pair(config, 0),
        "pci_subsystem_id": _pair(config, 0x2C),
        "revision": config[8],
        "is_virtual_function": (folder / "physfn").exists(),
        "width_card": _number(folder / "max_link_width"),
        "generation_card": _generation(folder / "max_link_speed"),
        "width_slot": _number(slot / "max_link_width"),
        "generation_slot": _generation(slot / "max_link_speed"),
    }


def host_facts(root: Path) -> dict[str, Any]:
    """The host around the card. A hypervisor shows in the processor's flags."""
    processor = _read(root / "proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", processor, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.+)$", processor, re.MULTILINE)
    return {
        "cpu": model[1][:100] if model else None,
        "hypervisor": "hypervisor" in flags[1].split() if flags else None,
        "board": _read(root / "sys/class/dmi/id/board_name").strip()[:100] or None,
        "kernel_module": _read(root / "proc/driver/nvidia/version").split("\n")[0].strip()[:200] or None,
    }


def _pair(config: bytes, at: int) -> str:
    vendor, device = (int.from_bytes(config[place : place + 2], "little") for place in (at, at + 2))
    return f"{vendor:04x}:{device:04x}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) < 255 else None


def _generation(path: Path) -> int | None:
    return SPEEDS.get(_read(path).split(" ")[0].strip())


def _text(value: Any) -> str | None:
    return str(value) if value else None
