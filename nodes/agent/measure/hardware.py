"""What a scripted card truly is, where that differs from what NVML is scripted to say of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodes.agent.fleet import ScriptedCard


@dataclass(frozen=True, slots=True)
class Hardware:
    """The keys of a scripted card's `hardware`. None or empty: as NVML says. `hidden` are views that say nothing."""

    # what other calls of NVML say
    cores: int | None = None
    ecc: int | None = None
    ecc_default: int | None = None
    virtualisation: int = 0
    rows_correctable: int = 0
    rows_uncorrectable: int = 0
    link_width: int | None = None
    link_generation: int | None = None
    replays: int = 0
    # the host: /proc and PCI
    hypervisor: bool = False
    virtual_function: bool = False
    hidden: tuple[str, ...] = ()
    driver_name: str = ""
    driver_uuid: str = ""
    driver_vbios: str = ""
    pci_device: str = ""
    pci_subsystem: str = ""
    slot_width: int = 16
    slot_generation: int = 5
    # the chip, as CUDA finds it
    cuda_name: str = ""
    cuda_uuid: str = ""
    compute_capability: str = ""
    sm_count: int | None = None
    cuda_memory_mib: int | None = None
    cells_mib: int | None = None  # memory that is really there; what lies above wraps
    bad_pages: int = 0
    bandwidth_mb_s: int = 900_000
    gflops: int = 280_000
    sm_clock_mhz: int = 2600
    is_wrong: bool = False
    # what fifteen minutes of load bring out
    soak_reasons: tuple[str, ...] = ()
    soak_temperature_c: int = 68
    soak_clock_mhz: int | None = None
    soak_xids: tuple[int, ...] = ()
    soak_wrong: int = 0
    kernel_log_xids: tuple[int, ...] = field(default=())


def hardware_of(card: ScriptedCard) -> Hardware:
    """What is scripted of the card; raises ValueError for a key that there is not."""
    known = {each.name for each in dataclasses.fields(Hardware)}
    if unknown := sorted(set(card.hardware) - known):
        raise ValueError(f"hardware of {card.uuid}: there is no {', '.join(unknown)}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in card.hardware.items()
    }
    return Hardware(**values)


# A function of NVML of one number: what it reads, None for not supported.
NVML_NUMBERS: dict[str, Callable[[ScriptedCard], int | None]] = {
    "NumGpuCores": lambda card: hardware_of(card).cores,
    "DefaultEccMode": lambda card: hardware_of(card).ecc_default,
    "VirtualizationMode": lambda card: hardware_of(card).virtualisation,
    "PcieReplayCounter": lambda card: hardware_of(card).replays,
    "CurrPcieLinkWidth": lambda card: hardware_of(card).link_width or min(
        card.pcie_width_max, hardware_of(card).slot_width
    ),
    "CurrPcieLinkGeneration": lambda card: hardware_of(card).link_generation or min(
        card.pcie_generation_max, hardware_of(card).slot_generation
    ),
}  # fmt: skip
