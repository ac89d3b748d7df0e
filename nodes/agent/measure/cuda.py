"""What the timed tests ask of a CUDA device; a real one and a scripted one answer alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Numbers = dict[str, Any]  # whole numbers, texts and lists of them: what a passport may hold
During = Callable[[], None]  # called while the device is at work, to look at clocks and link


class CudaError(RuntimeError):
    """A call of the runtime failed; the text says which."""


class CudaCard(Protocol):
    """One device, its memory free for the tests."""

    def facts(self) -> Numbers:
        """The device as CUDA finds it: uuid, name, pci_bus_id, compute_capability, memory_total_mib, sm_count."""

    def memory_truth(self, nonce: bytes, *, patterns: int) -> Numbers:
        """Write nearly all of the memory, every word from its address and the nonce, then read all of it again."""

    def copies(self, during: During) -> Numbers:
        """Rates of copies on the device and to and from the host, in MB/s."""

    def product(self, nonce: bytes, during: During) -> Numbers:
        """The product of two matrices made from the nonce: its rate, its hash and some entries."""

    def work(self, seconds: float) -> int:
        """Compute for so long; how many results differed from the first."""

    def load(self) -> Numbers:
        """What a soak found beside NVML's readings: `reasons`, `xids` and readings that are scripted; else empty."""

    def close(self) -> None:
        """Give the memory back."""


class Cuda(Protocol):
    """The runtime of this host."""

    def open(self, uuid: str) -> CudaCard:
        """The device of a UUID; raises CudaError when there is none."""
