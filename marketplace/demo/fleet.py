"""The hosts of the demo and their cards: three sellers with seven hosts, one modified card among them, and a buyer's.

A card that was sold moves: DATA_DIR/moved.json says which cards are where they were not built in, or nowhere.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class CardKind:
    """A model as a driver would tell it; MiB, watts at rest and under load."""

    slug: str
    name: str
    pci_device: str
    memory_mib: int
    rest_w: int
    load_w: int
    ask: str  # per GPU-hour, USD


H100 = CardKind("h100-sxm5-80gb", "NVIDIA H100 80GB HBM3", "10de:2330", 81559, 70, 640, "1.990")
A100 = CardKind("a100-sxm4-40gb", "NVIDIA A100-SXM4-40GB", "10de:20b0", 40960, 50, 370, "0.890")
L40S = CardKind("l40s", "NVIDIA L40S", "10de:26b9", 46068, 35, 320, "0.790")
RTX_4090 = CardKind("rtx-4090", "NVIDIA GeForce RTX 4090", "10de:2684", 24564, 20, 420, "0.390")
RTX_4090_D = CardKind("rtx-4090-d", "NVIDIA GeForce RTX 4090 D", "10de:2685", 24564, 20, 400, "0.350")
RTX_4090_D_48 = CardKind("rtx-4090-d", "NVIDIA GeForce RTX 4090 D", "10de:2685", 49140, 22, 410, "0.350")
RTX_3090 = CardKind("rtx-3090", "NVIDIA GeForce RTX 3090", "10de:2204", 24576, 25, 340, "0.190")

KINDS = {
    f"{kind.slug}/{kind.memory_mib}": kind for kind in (H100, A100, L40S, RTX_4090, RTX_4090_D, RTX_4090_D_48, RTX_3090)
}


@dataclass(frozen=True)
class DemoHost:
    """A host and its cards; `seller` is a key of the demo's people."""

    name: str
    seller: str
    region: str
    country: str
    cards: tuple[CardKind, ...]

    def uuid(self, index: int) -> str:
        """The same card every time the demo starts."""
        return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{self.name}.{index}.demo.test')}"


HOSTS = (
    DemoHost("lark-1", "seller", "eu-west", "NL", (H100, H100, H100, H100)),
    DemoHost("lark-2", "seller", "eu-west", "NL", (A100, A100)),
    DemoHost("kestrel-1", "kestrel", "eu-central", "DE", (RTX_4090, RTX_4090)),
    DemoHost("kestrel-2", "kestrel", "eu-central", "DE", (RTX_4090_D, RTX_4090_D_48)),
    DemoHost("heron-1", "heron", "ap-southeast", "SG", (L40S, L40S)),
    DemoHost("heron-2", "heron", "ap-southeast", "SG", (RTX_3090, RTX_3090)),
    DemoHost("heron-3", "heron", "ap-southeast", "SG", (RTX_4090,)),
    DemoHost("wren-1", "buyer", "eu-central", "DE", ()),  # an empty slot for what the buyer buys
)


@dataclass(frozen=True)
class PlacedCard:
    """One physical card of the demo."""

    uuid: str
    kind: CardKind


def host_named(name: str) -> DemoHost:
    """The host of that name; raises StopIteration when there is none."""
    return next(host for host in HOSTS if host.name == name)


def home_of(uuid: str) -> DemoHost:
    """The host that a card was built in; raises StopIteration for a card that the demo does not have."""
    return next(host for host in HOSTS for index in range(len(host.cards)) if host.uuid(index) == uuid)


def cards_at(data_dir: Path, host: DemoHost) -> list[PlacedCard]:
    """What is in the host now."""
    moved = moves(data_dir)
    built_in = [PlacedCard(host.uuid(index), kind) for index, kind in enumerate(host.cards)]
    stayed = [card for card in built_in if card.uuid not in moved]
    return stayed + [PlacedCard(uuid, KINDS[kind]) for uuid, (at, kind) in moved.items() if at == host.name]


def moves(data_dir: Path) -> dict[str, tuple[str, str]]:
    """By UUID of the card: the name of the host that it is in now, empty for none, and the key of its kind."""
    file = data_dir / "moved.json"
    return {uuid: (at, kind) for uuid, (at, kind) in json.loads(file.read_text()).items()} if file.exists() else {}


def move(data_dir: Path, uuid: str, kind: CardKind, to: str) -> None:
    """Put a card into another host, by name; an empty name takes it out."""
    key = next(key for key, each in KINDS.items() if each == kind)
    _replace(data_dir / "moved.json", json.dumps(moves(data_dir) | {uuid: (to, key)}))


def host_dir(data_dir: Path, name: str) -> Path:
    """Where a host keeps its agent's state and its scripted fleet."""
    return data_dir / "hosts" / name


def write_fleet(data_dir: Path, host: DemoHost, readings: list[tuple[PlacedCard, dict[str, object]]]) -> None:
    """Replace the host's fleet file; a reading goes over what its card at rest shows."""
    cards = [_at_rest(card) | reading for card, reading in readings]
    path = host_dir(data_dir, host.name) / "fleet.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, json.dumps({"driver": "570.86.15", "cuda": 12080, "cards": cards}))


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)


def _at_rest(card: PlacedCard) -> dict[str, object]:
    kind = card.kind
    return {
        "name": kind.name,
        "uuid": card.uuid,
        "pci_device": kind.pci_device,
        "memory_total_mib": kind.memory_mib,
        "memory_used_mib": 4,
        "utilisation": 0,
        "power_w": kind.rest_w,
        "power_limit_w": kind.load_w + 30,
    }
