"""The catalogue's row of a card as a passport is compared with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What a factory card of this model is. Empty or None where nobody has said it."""

    slug: str
    names: tuple[str, ...]  # NVML's, with the other spellings that drivers use
    architecture: str = ""
    compute_capability: str = ""
    pci_device_ids: frozenset[str] = frozenset()
    memory_sizes_mib: tuple[int, ...] = ()
    nvml_totals_mib: tuple[int, ...] = ()
    memory_type: str = ""
    memory_bandwidth_mb_s: int | None = None
    fp16_dense_gflops: int | None = None
    is_listed: bool = True
