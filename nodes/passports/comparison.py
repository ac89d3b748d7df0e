"""Is what the buyer measured the card that the seller measured? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMORY_TOLERANCE_MIB = 64


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was."""

    code: str
    before: Any
    after: Any


def differences(seller: Mapping[str, Any], buyer: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Empty when it is the same card, and healthy."""
    before, after = seller.get("identity", {}), buyer.get("identity", {})
    found = [
        Difference(name, before.get(name), after.get(name))
        for name in ("uuid", "pci_device_id")
        if before.get(name) != after.get(name)
    ]
    had, has = seller.get("observed", {}).get("mem_total", 0), buyer.get("observed", {}).get("mem_total", 0)
    if abs(had - has) > MEMORY_TOLERANCE_MIB:
        found.append(Difference("memory", had, has))
    return tuple(found)
