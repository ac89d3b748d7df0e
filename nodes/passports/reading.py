"""Reading a passport's body, which somebody else wrote: whatever it holds, asking never raises. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

VIEWS = ("nvml", "driver", "pci", "cuda")
# The market adds what the node's inventory says, where it knows the card already.
SOURCES = (*VIEWS, "inventory")
ECC_SHARE = 16  # ECC on GDDR6 takes a sixteenth of the memory
HBM_CAPABILITIES = frozenset({"8.0", "9.0", "10.0"})  # ECC has its own cells there and takes no memory
SAME_MEMORY_MIB = 64


def part(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at a path; empty when there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def text(value: Any, *path: str) -> str | None:
    """The text at a path; None when there is none, or an empty one."""
    found = part(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) and found else None


def number(value: Any, *path: str) -> int | None:
    """The whole number at a path; None when there is none."""
    found = part(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def flag(value: Any, *path: str) -> bool | None:
    """The truth value at a path; None when there is none."""
    found = part(value, *path[:-1]).get(path[-1])
    return found if isinstance(found, bool) else None


def numbers(value: Any, *path: str) -> list[int]:
    """The whole numbers of the list at a path."""
    found = part(value, *path[:-1]).get(path[-1])
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [each for each in found if isinstance(each, int) and not isinstance(each, bool)]


def texts(value: Any, *path: str) -> list[str]:
    """The texts of the list at a path."""
    found = part(value, *path[:-1]).get(path[-1])
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [each for each in found if isinstance(each, str)]


def views_of(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What each independent source said of the card; a source that said nothing is not among them."""
    return {name: found for name in SOURCES if (found := part(body, "views", name))}


def test_of(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A test's numbers; empty when it was not run."""
    found = part(body, "tests", name)
    return {} if "skipped" in found else found


def whole_memory_mib(identity: Mapping[str, Any]) -> int | None:
    """A total as it is with ECC off, so that a switch is not taken for another card; None when there is none."""
    total = number(identity, "memory_total_mib")
    if not total:
        return None
    is_inline = text(identity, "compute_capability") not in HBM_CAPABILITIES
    return total * ECC_SHARE // (ECC_SHARE - 1) if flag(identity, "ecc_enabled") and is_inline else total
