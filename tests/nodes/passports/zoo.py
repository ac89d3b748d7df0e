"""A zoo of spoofed cards on the simulator, and the honest cards of the whole catalogue with their real quirks.

Every card goes through the agent's own code: NVML's binding, the host's files, the timed tests, the signed body.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml
from nacl.signing import SigningKey

from marketplace.catalogue.factsheet import ModelFacts
from nodes.agent import simulator
from nodes.agent.fleet import Fleet, ScriptedCard, write_fleet
from nodes.agent.measure.document import Bench, body_of
from nodes.agent.measure.simulated import SimulatedCuda, write_host
from nodes.agent.passport import Challenge
from nodes.passports.findings import Finding, findings, function_grade
from nodes.passports.rows import CatalogueRow
from tests.nodes.passports.bodies import MODELS, row_from

KEY = SigningKey(b"z" * 32)
CHALLENGE = Challenge("node_zoo", "", "seller", "", "5a" * 32, 1, "", "", "")
VBIOS = {"Turing": "90.04.0b.00.01", "Ada": "95.02.3c.00.01", "Hopper": "96.00.61.00.01", "Blackwell": "98.02.2e.00.01"}
# Cores and multiprocessors as NVIDIA's data sheets give them: 64 or 128 to one, by architecture.
CORES = {
    "rtx-4090": (16384, 128), "rtx-4090-d": (14592, 114), "rtx-3090": (10496, 82), "rtx-2080-ti": (4352, 68),
    "a100-pcie-80gb": (6912, 108), "h100-pcie-80gb": (14592, 114), "h100-sxm5-80gb": (16896, 132),
    "rtx-a6000": (10752, 84),
}  # fmt: skip
HBM = ("HBM2", "HBM2e", "HBM3", "HBM3e")


def factory_card(slug: str, quirk: int = 0, **values: Any) -> ScriptedCard:
    """A card as it leaves the factory. `quirk` turns ECC and BAR1 and picks one of the totals that were seen."""
    facts = MODELS[slug]
    is_geforce = "GeForce" in facts.name
    totals = facts.nvml_totals_mib or (facts.memory_sizes_mib[0] * 995 // 1000,)
    return ScriptedCard(
        **{
            "name": facts.name,
            "uuid": f"GPU-{slug[:20]}-{quirk}",
            "memory_total_mib": totals[quirk % len(totals)],
            "bar1_total_mib": (256, 32768, 65536)[quirk % 3],
            "pci_device": facts.pci_device_ids[quirk % len(facts.pci_device_ids)],
            "pci_subsystem": ("1043:889a", "1462:5110", "10de:1234")[quirk % 3],
            "pci_bus": f"00000000:{(quirk + 1) % 256:02X}:00.0",
            "serial": "" if is_geforce else f"16505{quirk:08d}",
            "board_part_number": "" if is_geforce else "900-5G133-0300-000",
            "vbios": _vbios(facts),
            "compute_capability": facts.compute_capability or "8.6",
            "pcie_width_max": 8 if "4060" in slug or "5060" in slug or slug == "a2" else 16,
            "mig": False if facts.mig_capable else None,
            "hardware": _factory_hardware(facts, quirk, is_geforce),
        }
        | values
    )


def _vbios(facts: ModelFacts) -> str:
    if facts.architecture == "Ampere":
        return "92.00.45.00.01" if facts.compute_capability == "8.0" else "94.02.42.00.01"
    return VBIOS.get(facts.architecture, "")


def _factory_hardware(facts: ModelFacts, quirk: int, is_geforce: bool) -> dict[str, Any]:
    has_ecc = not is_geforce and facts.architecture != ""
    keeps_ecc_on = facts.memory_type in HBM or facts.designed_for_datacentre
    rate = facts.fp16_dense_tflops
    return {
        "bandwidth_mb_s": (facts.memory_bandwidth_gb_s or 500) * (900 + quirk % 3 * 30),
        "gflops": 60_000 if rate is None else int(rate * (800 + quirk % 4 * 60)),
        "cores": CORES.get(facts.slug, (None, None))[0],
        "sm_count": CORES.get(facts.slug, (None, None))[1],
        "ecc": (1 if keeps_ecc_on else quirk % 2) if has_ecc else None,
        "ecc_default": (1 if keeps_ecc_on else 0) if has_ecc else None,
        "slot_width": (16, 8, 16, 4)[quirk % 4],
        "slot_generation": (5, 4, 3)[quirk % 3],
        "soak_temperature_c": 60 + quirk % 25,
        "soak_reasons": ["sw_power_cap"] if quirk % 2 else [],
        "kernel_log_xids": [31, 43] if quirk % 5 == 0 else [],
    }


@dataclass(frozen=True, slots=True)
class Spoof:
    """A card that is not what it says: scripted with `card`, truly `hardware`; sold as `model`."""

    name: str
    expected: str
    model: str = "rtx-4090"
    card: dict[str, Any] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)

    def scripted(self) -> ScriptedCard:
        """As the simulator has it."""
        honest = factory_card(self.model)
        changed = dataclasses.replace(honest, **self.card)
        return dataclasses.replace(changed, hardware=honest.hardware | self.hardware)


SPOOFS = [
    Spoof("a 3090 that is renamed", "sku_relabelled", card={"pci_device": "10de:2204", "compute_capability": "8.6"}),
    Spoof("a 4090 D with its own id and the other's name", "sku_relabelled", card={"pci_device": "10de:2685"}),
    Spoof("a 4090 D that calls itself that", "sku_relabelled", card={"name": "NVIDIA GeForce RTX 4090 D"}),
    Spoof("a 4090 D whose NVML is patched", "views_disagree", hardware={"pci_device": "10de:2685"}),
    Spoof("an A800 as A100", "sku_relabelled", model="a100-pcie-80gb", card={"pci_device": "10de:20f5"}),
    Spoof("a 1080 Ti with a 4090's names", "sku_relabelled", hardware={"compute_capability": "6.1"}),
    Spoof("an A100 as H100", "sku_relabelled", model="h100-pcie-80gb", card={"compute_capability": "8.0"}),
    Spoof("a CMP 50HX as 2080 Ti", "mining_sku", model="rtx-2080-ti", card={"pci_device": "10de:1e09"}),
    Spoof("a CMP 90HX under a patched NVML", "mining_sku", model="rtx-3080-10gb", hardware={"pci_device": "10de:220d"}),
    Spoof("a CMP 170HX as A100", "mining_sku", model="a100-pcie-40gb", card={"pci_device": "10de:20c2"}),
    Spoof("48 GiB rebuilt, not disclosed", "memory_modified", model="rtx-4090-d",
          card={"memory_total_mib": 49140, "bar1_total_mib": 32768}),
    Spoof("20 GiB on a 3080", "memory_modified", model="rtx-3080-10gb", card={"memory_total_mib": 20480}),
    Spoof("memory that wraps at half", "memory_overstated",
          card={"memory_total_mib": 49140}, hardware={"cells_mib": 24564}),
    Spoof("NVML says 24 GiB, CUDA 12", "views_disagree", hardware={"cuda_memory_mib": 12000}),
    Spoof("memory with bad cells", "memory_errors", hardware={"bad_pages": 3}),
    Spoof("a MIG slice as whole", "virtualised", model="a100-pcie-80gb",
          card={"name": "NVIDIA A100 80GB PCIe MIG 3g.40gb", "memory_total_mib": 40192}),
    Spoof("a card with MIG on", "virtualised", model="h100-pcie-80gb", card={"mig": True}),
    Spoof("a vGPU by its name", "virtualised", model="rtx-a6000", card={"name": "GRID RTXA6000-48Q"}),
    Spoof("a vGPU by its mode", "virtualised", model="rtx-a6000", hardware={"virtualisation": 2}),
    Spoof("a passthrough guest", "virtualised", hardware={"virtualisation": 1}),
    Spoof("a passthrough guest that hides the mode", "virtualised", hardware={"hypervisor": True}),
    Spoof("an SR-IOV function", "virtualised", model="rtx-a6000", hardware={"virtual_function": True}),
    Spoof("a 4090 D whose NVML counts a 4090's cores", "views_disagree", hardware={"sm_count": 114}),
    Spoof("a MIG slice's UUID", "virtualised", model="h100-pcie-80gb",
          card={"uuid": "MIG-6f2c0000-0000-4000-8000-000000000001"}),
    Spoof("a renamed card in every source but its id", "sku_relabelled", model="rtx-3090",
          card={"pci_device": "10de:2684"}),
    Spoof("a 3080 Ti flashed as 3090", "sku_relabelled", model="rtx-3090", card={"pci_device": "10de:2208"}),
    Spoof("a chip that miscalculates when warm", "wrong_result", hardware={"soak_wrong": 2}),
    Spoof("rows that wait to be remapped", "remap_pending", model="a100-pcie-80gb", card={"remap_pending": True}),
    Spoof("an ECC counter that is not zero", "ecc_errors", model="a100-pcie-80gb", card={"ecc_uncorrected": 2}),
    Spoof("another UUID under /proc", "views_disagree", hardware={"driver_uuid": "GPU-0000"}),
    Spoof("another UUID in CUDA", "views_disagree", hardware={"cuda_uuid": "GPU-0000"}),
    Spoof("another name under /proc", "views_disagree", hardware={"driver_name": "NVIDIA GeForce RTX 3090"}),
    Spoof("another VBIOS under /proc", "views_disagree", hardware={"driver_vbios": "94.02.42.00.01"}),
    Spoof("another board in PCI config space", "views_disagree", hardware={"pci_subsystem": "1462:5110"}),
    Spoof("a product that was never computed", "wrong_result", hardware={"is_wrong": True}),
    Spoof("a rate that no card has", "rate_impossible", hardware={"gflops": 989_000}),
    Spoof("a bandwidth that no card has", "rate_impossible", hardware={"bandwidth_mb_s": 3_350_000}),
    Spoof("a chip of half the rate", "compute_slow", hardware={"gflops": 120_000}),
    Spoof("a narrower memory bus", "bandwidth_low", hardware={"bandwidth_mb_s": 600_000}),
    Spoof("broken lanes", "link_narrow", hardware={"link_width": 4, "slot_width": 16}),
    Spoof("a dried-out cooler", "thermal", hardware={"soak_reasons": ["hw_thermal_slowdown"]}),
    Spoof("a clock that sags", "thermal", hardware={"soak_reasons": [], "soak_clock_mhz": 1900}),
    Spoof("a row remap that failed", "remap_failure", model="a100-pcie-80gb", card={"remap_failed": True}),
    Spoof("rows that were remapped", "rows_remapped", model="a100-pcie-80gb", hardware={"rows_uncorrectable": 3}),
    Spoof("ECC switched off to look larger", "ecc_off", model="a40", hardware={"ecc": 0}),
    Spoof("a card that falls off the bus under load", "xid", hardware={"soak_xids": [79]}),
    Spoof("a board that nobody made", "unknown_board", card={"name": "NVIDIA RTX 9090", "pci_device": "10de:ffff"}),
]  # fmt: skip


def measured(folder: Path, cards: list[ScriptedCard], *, is_simulated: bool = False) -> list[dict[str, Any]]:
    """The bodies of these cards, through the agent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_fleet(folder / "fleet.json", Fleet(cards=cards))
    library = simulator.install(folder / "fleet.json")
    try:
        write_host(folder / "host", library.fleet.cards, library.fleet.driver)
        cuda = SimulatedCuda(lambda: library.fleet.cards)
        bench = Bench(folder / "host", "node_zoo", KEY, cuda, is_simulated=is_simulated, is_quick=True)
        pynvml.nvmlInit()
        return [body_of(bench, card.uuid, CHALLENGE) for card in library.fleet.cards]
    finally:
        simulator.remove()


def judged(row: CatalogueRow, body: dict[str, Any]) -> tuple[tuple[Finding, ...], str]:
    """The findings and the grade."""
    found = findings(row, body)
    return found, function_grade(found, body)


def row_for(spoof: Spoof) -> CatalogueRow:
    """What it is sold as; a board that nobody made has no row of the catalogue's."""
    row = row_from(MODELS[spoof.model])
    return dataclasses.replace(row, is_listed=False) if spoof.expected == "unknown_board" else row
