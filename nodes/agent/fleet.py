"""A scripted fleet: a JSON file that says what cards a simulated host has and what they do right now.

`{"driver": "570.86.15", "cuda": 12080, "init_error": 0, "cards": [{"name": "NVIDIA GeForce RTX 4090", …}]}`; the
keys of a card are the fields of `ScriptedCard`. The file may be replaced at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes.agent.config import ConfigError
from nodes.agent.traces import Trace, has_process, open_trace

TRACE_PID = 424_242  # the owner's process that a trace stands for


class FleetError(ConfigError):
    """The fleet file can't be understood; the text says where."""


@dataclass(frozen=True, slots=True)
class ScriptedProcess:
    """A process on a card; `kind` is C (compute), G (graphics) or M (MPS)."""

    pid: int
    kind: str = "C"
    mib: int = 0


@dataclass(frozen=True, slots=True)
class ScriptedCard:
    """One card as NVML would tell it. `unsupported` and `errors` name NVML functions without their version."""

    name: str
    uuid: str = ""
    memory_total_mib: int = 24564
    memory_reserved_mib: int = 380
    memory_used_mib: int = 1
    bar1_total_mib: int = 256
    utilisation: int = 0
    memory_bus: int = 0
    temperature: int = 35
    power_w: float = 20.0
    power_limit_w: int = 450
    sm_clock: int = 210
    pci_bus: str = ""
    pci_device: str = "10de:2684"
    pci_subsystem: str = "1043:889a"
    serial: str = ""
    board_part_number: str = ""
    vbios: str = "95.02.3c.00.01"
    compute_capability: str = "8.9"
    pcie_generation_max: int = 4
    pcie_width_max: int = 16
    ecc_uncorrected: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    recovery_action: int = 0
    clocks_reasons: int = 1
    mig: bool | None = None  # None: the card knows no MIG
    processes: list[ScriptedProcess] = field(default_factory=list)
    xids: list[int] = field(default_factory=list)  # every Xid so far; those that come to the list are delivered
    lost: int = 0  # 1: every call fails; 2: the card has no handle any more
    unsupported: list[str] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)  # what it truly is, see `measure/hardware.py`
    trace: dict[str, Any] | None = None  # keywords of `traces.open_trace`, which then tells utilisation and memory


@dataclass(frozen=True, slots=True)
class Fleet:
    """The cards of a simulated host."""

    cards: list[ScriptedCard] = field(default_factory=list)
    driver: str = "570.86.15"
    cuda: int = 12080
    init_error: int = 0


class FleetFile:
    """The fleet of a file, read again when the file has changed."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._begun = clock()
        self._traces: dict[str, Trace] = {}  # kept when the file changes, so that they play on
        self._seen: tuple[int, int] | None = None
        self._fleet = Fleet()

    def fleet(self) -> Fleet:
        """The fleet as of now; a half-written or missing file leaves the last one; at first it raises FleetError."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino)
            if seen != self._seen:
                self._fleet = parse_fleet(self._path.read_text())
                self._seen = seen
        except (OSError, FleetError) as error:
            if self._seen is None:
                raise FleetError(f"{self._path}: {error}") from error
        if any(card.trace for card in self._fleet.cards):
            return dataclasses.replace(self._fleet, cards=[self._played(card) for card in self._fleet.cards])
        return self._fleet

    def _played(self, card: ScriptedCard) -> ScriptedCard:
        """The card as its trace has it now: while it works or holds memory, a process of the owner is on it."""
        if card.trace is None:
            return card
        key = json.dumps([card.uuid, card.trace], sort_keys=True)
        if key not in self._traces:
            self._traces[key] = _opened(card)
        percent, held = self._traces[key].at(self._clock() - self._begun)
        works = has_process(percent, held)
        return dataclasses.replace(
            card,
            utilisation=percent,
            memory_used_mib=min(held, card.memory_total_mib - card.memory_reserved_mib),
            power_w=card.power_w + (card.power_limit_w - card.power_w) * percent / 100,
            processes=[*card.processes, *([ScriptedProcess(TRACE_PID, mib=held)] if works else [])],
        )


def _opened(card: ScriptedCard) -> Trace:
    try:
        return open_trace(**{"seed": card.uuid} | (card.trace or {}))
    except (OSError, ValueError, TypeError) as error:
        raise FleetError(f"the trace of {card.uuid}: {error}") from error


def parse_fleet(text: str) -> Fleet:
    """The fleet of a JSON text; raises FleetError."""
    try:
        value = json.loads(text)
        cards = [_card(number, each) for number, each in enumerate(value.pop("cards", []))]
        return Fleet(cards=cards, **value)
    except (ValueError, TypeError, AttributeError) as error:
        raise FleetError(str(error)) from error


def write_fleet(path: Path, fleet: Fleet) -> None:
    """Replace the file as a whole, so that a reader never sees half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(dataclasses.asdict(fleet)))
    fresh.replace(path)


def _card(number: int, value: dict[str, Any]) -> ScriptedCard:
    card = ScriptedCard(**value)
    return dataclasses.replace(
        card,
        uuid=card.uuid or _made_up_uuid(number, card.name),
        pci_bus=card.pci_bus or f"00000000:{number + 1:02X}:00.0",
        processes=[ScriptedProcess(**each) for each in value.get("processes", [])],
    )


def _made_up_uuid(number: int, name: str) -> str:
    digest = hashlib.sha256(f"{number} {name}".encode()).digest()
    return f"GPU-{uuid.UUID(bytes=digest[:16], version=4)}"
