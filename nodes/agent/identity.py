"""What NVML says of one physical card."""

from __future__ import annotations

from typing import Any

import pynvml

from nodes.agent.nvml_calls import Signal, attempt, text
from nodes.agent.protocol import CardIdentity

MIB = 1024 * 1024


def card_identity(index: int, handle: object, uuid: str, mig_enabled: bool | None) -> CardIdentity:
    """The identity of a card; raises NVMLError when it does not even tell its memory or name."""
    total, reserved = _memory(handle)
    bar1 = _ask("BAR1MemoryInfo", handle)
    pci = _ask("PciInfo", handle)
    capability = _ask("CudaComputeCapability", handle)
    ecc = _ask("EccMode", handle)
    limit_mw = _ask("EnforcedPowerLimit", handle)
    return CardIdentity(
        uuid=uuid,
        name=text(pynvml.nvmlDeviceGetName(handle)) or "unknown",
        index=index,
        memory_total_mib=total,
        memory_reserved_mib=reserved,
        bar1_total_mib=bar1.bar1Total // MIB if bar1 else None,
        pci_bus_id=text(pci.busId) if pci else None,
        pci_device_id=_pci_id(pci.pciDeviceId) if pci else None,
        pci_subsystem_id=_pci_id(pci.pciSubSystemId) if pci else None,
        serial=text(_ask("Serial", handle)),
        board_part_number=text(_ask("BoardPartNumber", handle)),
        vbios=text(_ask("VbiosVersion", handle)),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        minor_number=_ask("MinorNumber", handle),
        power_limit_w=limit_mw // 1000 if limit_mw else None,
        pcie_generation_max=_ask("MaxPcieLinkGeneration", handle),
        pcie_width_max=_ask("MaxPcieLinkWidth", handle),
        ecc_enabled=bool(ecc[0]) if ecc else None,
        mig_enabled=mig_enabled,
    )


def _memory(handle: object) -> tuple[int, int | None]:
    """MiB in all and MiB that the driver keeps; drivers before 510 do not tell the second."""
    memory = attempt(Signal("nvmlDeviceGetMemoryInfo", handle, pynvml.nvmlMemory_v2))
    if memory is not None:
        return memory.total // MIB, memory.reserved // MIB
    return pynvml.nvmlDeviceGetMemoryInfo(handle).total // MIB, None


def _ask(what: str, handle: object) -> Any:
    return attempt(Signal(f"nvmlDeviceGet{what}", handle))


def _pci_id(value: int) -> str:
    """NVML packs the device in the high 16 bits and the vendor in the low ones."""
    return f"{value & 0xFFFF:04x}:{value >> 16:04x}"
