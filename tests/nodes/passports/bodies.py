"""Bodies of passports as an honest agent writes them, and rows of the catalogue to compare them with."""

from __future__ import annotations

import copy
from typing import Any

from marketplace.catalogue.factsheet import FACTS, ModelFacts, read_aliases, read_models
from nodes.agent.passport import entry_of, sampled_places
from nodes.passports.rows import CatalogueRow

NONCE, SIDE, PRODUCT = b"n" * 32, 32, "ab" * 32
SHOWN = [entry_of(NONCE, row, column, SIDE) for row, column in sampled_places(NONCE, PRODUCT, SIDE)]
MODELS = {each.slug: each for each in read_models((FACTS / "gpus.csv").read_text())}
OTHER_NAMES: dict[str, list[str]] = {}
for _alias in read_aliases((FACTS / "aliases.csv").read_text(), MODELS):
    if _alias.kind == "nvml":
        OTHER_NAMES.setdefault(_alias.slug, []).append(_alias.alias)


def row_of(slug: str) -> CatalogueRow:
    """The catalogue's row of a model."""
    return row_from(MODELS[slug])


def row_from(facts: ModelFacts) -> CatalogueRow:
    """A facts line as findings compare with it."""
    rate = facts.fp16_dense_tflops
    return CatalogueRow(
        slug=facts.slug,
        names=(facts.name, *OTHER_NAMES.get(facts.slug, [])),
        architecture=facts.architecture,
        compute_capability=facts.compute_capability,
        pci_device_ids=frozenset(facts.pci_device_ids),
        memory_sizes_mib=facts.memory_sizes_mib,
        nvml_totals_mib=facts.nvml_totals_mib,
        memory_type=facts.memory_type,
        memory_bandwidth_mb_s=facts.memory_bandwidth_gb_s and facts.memory_bandwidth_gb_s * 1000,
        fp16_dense_gflops=None if rate is None else int(rate * 1000),
    )


def honest_body(slug: str = "rtx-4090", *, role: str = "seller") -> dict[str, Any]:
    """A factory card in good health, measured in full."""
    facts = MODELS[slug]
    total = facts.nvml_totals_mib[0] if facts.nvml_totals_mib else facts.memory_sizes_mib[0] * 995 // 1000
    same = {"uuid": "GPU-6f2c0000-0000-4000-8000-000000000001", "pci_bus_id": "0000:01:00.0"}
    device = {"pci_device_id": facts.pci_device_ids[0], "pci_subsystem_id": "1043:889a"}
    nvml = same | device | {
        "name": facts.name, "serial": None, "board_part_number": None, "vbios": "95.02.3c.00.01",
        "compute_capability": facts.compute_capability, "memory_total_mib": total, "bar1_total_mib": 256,
        "ecc_enabled": None, "ecc_default": None, "mig_enabled": None, "virtualisation_mode": 0,
        "sm_clock_max_mhz": 3105,
    }  # fmt: skip
    rate = 0 if facts.fp16_dense_tflops is None else int(facts.fp16_dense_tflops * 900)
    return copy.deepcopy({
        "role": role,
        "nonce": NONCE.hex(),
        "agent": {"simulated": False},
        "host": {"hypervisor": False},
        "views": {
            "nvml": nvml,
            "driver": same | {"name": facts.name, "vbios": "95.02.3c.00.01"},
            "pci": device | {"pci_bus_id": same["pci_bus_id"], "is_virtual_function": False},
            "cuda": same | {
                "name": facts.name, "compute_capability": facts.compute_capability, "memory_total_mib": total - 340,
            },
        },
        "health": {"remapped_rows": "not_meaningful", "xids": []},
        "tests": {
            "memory_truth": {"pages": total * 240, "mismatched_pages": 0},
            "copy_bandwidth": {"device_mb_s": (facts.memory_bandwidth_gb_s or 0) * 920},
            "gemm": {"gflops": rate, "sm_clock_mhz": 2600, "side": SIDE, "product_sha256": PRODUCT, "samples": SHOWN},
            "pcie_link": {
                "width_under_load": 16, "width_card": 16, "width_slot": 16, "generation_under_load": 4,
                "generation_card": 4, "generation_slot": 5, "replays": 0, "seconds": 60,
            },
            "soak": {"seconds": 900, "temperature_max_c": 71, "reasons": ["sw_power_cap"], "clock_early_mhz": 2600,
                     "clock_late_mhz": 2580, "wrong_results": 0, "xids": []},
        },
    })  # fmt: skip


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The body with one value changed; `path` has dots."""
    fresh = copy.deepcopy(body)
    *way, last = path.split(".")
    place = fresh
    for name in way:
        place = place[name]
    place[last] = value
    return fresh
