"""What the runner asks of the cards, and a guard against a driver that hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from nodes.agent.protocol import CARD_FIELDS, CardIdentity, Health

log = logging.getLogger(__name__)

IsLeasePid = Callable[[int], bool]
Sample = list[float | None]

MEMORY_USED = CARD_FIELDS.index("memory_used_mib")
OWNER_PROCESSES = CARD_FIELDS.index("owner_processes")
HEALTH = CARD_FIELDS.index("health")
XID = CARD_FIELDS.index("xid")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every card of the host and one sample of each, in the same order."""

    cards: list[CardIdentity] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    driver_version: str | None = None
    cuda_version: str | None = None
    error: str | None = None  # why NVML as a whole can't be used
    stale_library: bool = False  # the driver was replaced under this process: only a new one can read the cards

    def memory_used_mib(self, uuid: str) -> int | None:
        """MiB in use on a card; None when the card or its reading is unknown."""
        for card, sample in zip(self.cards, self.samples, strict=True):
            used = sample[MEMORY_USED]
            if card.uuid == uuid and used is not None:
                return int(used)
        return None

    def differs(self, other: Snapshot) -> bool:
        """Whether the server should hear at once: other cards, health, Xid, or an owner who came or went."""
        return self.cards != other.cards or [_telling(each) for each in self.samples] != [
            _telling(each) for each in other.samples
        ]


class GpuReader(Protocol):
    """A source of snapshots."""

    def read(self, is_lease_pid: IsLeasePid) -> Snapshot:
        """One look at every card; never raises for what a card or driver does."""

    def close(self) -> None:
        """Let go of the driver, so that a card can be reset."""


class StallGuard:
    """A reader that answers in time even when a driver call never returns: such a thread can't be interrupted."""

    def __init__(self, reader: GpuReader, *, patience_seconds: float = 10.0) -> None:
        self._reader = reader
        self._patience = patience_seconds
        self._thread: threading.Thread | None = None
        self._last = Snapshot()
        self._fresh = False

    def read(self, is_lease_pid: IsLeasePid) -> Snapshot:
        """A fresh snapshot; without one in time the last cards, with NVML_STALLED and no readings."""
        if self._thread is None or not self._thread.is_alive():
            self._fresh = False
            self._thread = threading.Thread(target=self._look, args=[is_lease_pid], name="nvml", daemon=True)
            self._thread.start()
            self._thread.join(self._patience)
        return self._last if self._fresh else _stalled(self._last)

    def close(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._reader.close()

    def _look(self, is_lease_pid: IsLeasePid) -> None:
        try:
            self._last = self._reader.read(is_lease_pid)
            self._fresh = True
        except Exception:
            log.exception("the cards can't be read")


def unread_sample(health: Health, xid: int = 0) -> Sample:
    """The sample of a card that answers nothing."""
    sample: Sample = [None] * len(CARD_FIELDS)
    sample[HEALTH] = int(health)
    sample[XID] = xid
    return sample


def _stalled(last: Snapshot) -> Snapshot:
    samples = [
        unread_sample(Health(int(each[HEALTH] or 0)) | Health.NVML_STALLED, int(each[XID] or 0))
        for each in last.samples
    ]
    return replace(last, samples=samples)


def _telling(sample: Sample) -> tuple[bool, float | None, float | None]:
    return bool(sample[OWNER_PROCESSES]), sample[HEALTH], sample[XID]
