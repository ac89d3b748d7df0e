"""How a lease's cards come into its container on dockerd: by CDI where the daemon knows them, else by nvidia's hook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CDI_KIND = "nvidia.com/gpu"
_SPEC_SUFFIXES = (".json", ".yaml", ".yml")


def cdi_name(uuid: str) -> str:
    """A card as CDI names it."""
    return f"{CDI_KIND}={uuid}"


def has_cdi(info: Mapping[str, Any], uuids: Sequence[str]) -> bool:
    """Whether the daemon of this `/info` finds these cards by CDI: folders for its files alone prove nothing."""
    discovered = info.get("DiscoveredDevices")
    if discovered is not None:
        known = {each.get("ID") for each in discovered}
        return all(cdi_name(uuid) in known for uuid in uuids)
    texts = [text for folder in info.get("CDISpecDirs") or [] for text in _specs(Path(folder)) if CDI_KIND in text]
    return bool(texts) and all(any(uuid in text for text in texts) for uuid in uuids)


def device_request(uuids: Sequence[str], *, cdi: bool) -> dict[str, Any]:
    """The engine's wish for exactly these cards."""
    if cdi:
        return {"Driver": "cdi", "DeviceIDs": [cdi_name(uuid) for uuid in uuids]}
    return {"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu", "compute", "utility"]]}


def _specs(folder: Path) -> list[str]:
    try:
        return [path.read_text(errors="replace") for path in folder.iterdir() if path.suffix in _SPEC_SUFFIXES]
    except OSError:
        return []
