"""What of a card can't change by itself, and what did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.passports.reading import SAME_MEMORY_MIB, whole_memory_mib

# The firmware of the host decides about BAR1 and the driver about the name: an event, and no other card.
BLOCKING = ("serial", "pci_device_id", "pci_subsystem_id", "board_part_number", "vbios", "compute_capability")
TOLD = ("name", "bar1_total_mib")
KEPT = ("serial", "board_part_number", "vbios", "pci_device_id", "pci_subsystem_id", "compute_capability")


def identity_changes(known: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, list[Any]]:
    """By field what was known and what is said now; a field that either does not say has not changed."""
    changes = {}
    for name in (*BLOCKING, *TOLD):
        old, new = known.get(name), said.get(name)
        if old is not None and new is not None and str(old).lower() != str(new).lower():
            changes[name] = [old, new]
    old_total, new_total = whole_memory_mib(known), whole_memory_mib(said)
    if old_total and new_total and abs(old_total - new_total) > SAME_MEMORY_MIB:
        changes["memory_total_mib"] = [known["memory_total_mib"], said["memory_total_mib"]]
    return changes


def is_blocking(changes: Mapping[str, Any]) -> bool:
    """Whether these changes make it another card until somebody has looked."""
    return bool(set(changes) - set(TOLD))


def remembered(known: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a card now: a call that failed once takes away nothing that was read before."""
    return dict(said) | {name: known[name] for name in KEPT if said.get(name) is None and known.get(name) is not None}
