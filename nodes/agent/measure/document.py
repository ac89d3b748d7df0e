"""Puts a passport's body together and signs it."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml
from nacl.signing import SigningKey

from nodes.agent.measure.cuda import Cuda, CudaCard, CudaError, Numbers
from nodes.agent.measure.kernel_log import kernel_xids
from nodes.agent.measure.probe import Probe
from nodes.agent.measure.suite import TESTS, Suite
from nodes.agent.measure.views import driver_view, host_facts, nvml_view, pci_view
from nodes.agent.nvml_calls import Signal, attempt, text
from nodes.agent.passport import BODY_PREFIX, SCHEMA, Challenge, PassportPost, SignedChallenge, canonical
from nodes.agent.protocol import decode
from nodes.agent.state import StateError
from nodes.agent.version import VERSION


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a card is measured. `cuda` is None where there is no runtime, and `why_not` says so."""

    root: Path
    node: str
    key: SigningKey
    cuda: Cuda | None
    why_not: str = "no CUDA runtime"
    is_simulated: bool = False
    is_quick: bool = False
    say: Callable[[str], None] = lambda _: None


def measure(bench: Bench, uuid: str, signed: SignedChallenge) -> PassportPost:
    """Measure the card and answer the challenge; raises StateError or NVMLError when NVML does not have it."""
    challenge = decode(Challenge, signed.payload)
    body = canonical(body_of(bench, uuid, challenge)).decode()
    signature = base64.b64encode(bench.key.sign(BODY_PREFIX + body.encode()).signature).decode()
    return PassportPost(body=body, signature=signature, challenge=signed)


def body_of(bench: Bench, uuid: str, challenge: Challenge) -> dict[str, Any]:
    """The body that answers a challenge: views, counters and timed tests."""
    index, handle = found_card(uuid)
    nvml = nvml_view(index, handle, uuid)
    bus, probe = nvml["pci_bus_id"], Probe(handle)
    pci = pci_view(bench.root, bus)
    cuda, tests = _tested(bench, uuid, probe, pci or {}, bytes.fromhex(challenge.nonce))
    return {
        "schema": SCHEMA,
        "nonce": challenge.nonce,
        "role": challenge.role,
        "subject": challenge.subject,
        "seq": challenge.seq,
        "prev_sha256": challenge.prev_sha256,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": bench.is_quick,
        "agent": {
            "version": VERSION,
            "node": bench.node,
            "public_key": base64.b64encode(bytes(bench.key.verify_key)).decode(),
            "simulated": bench.is_simulated,
        },
        "host": host_facts(bench.root) | _software(bench),
        "views": {"nvml": nvml, "driver": driver_view(bench.root, bus), "pci": pci, "cuda": cuda},
        "health": probe.counters(nvml["name"]) | {"xids": kernel_xids(bench.root, bus)},
        "tests": tests,
    }


def cards_of_host() -> dict[str, int]:
    """UUID → NVML's index of every card that says its name; call it with NVML initialised. A broken one is left out."""
    found = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = attempt(Signal("nvmlDeviceGetHandleByIndex", index))
        uuid = None if handle is None else attempt(Signal("nvmlDeviceGetUUID", handle))
        if uuid is not None:
            found[uuid] = index
    return found


def found_card(uuid: str) -> tuple[int, object]:
    """NVML's index and handle of a card; StateError when it is not there."""
    index = cards_of_host().get(uuid)
    if index is None:
        raise StateError(f"this host has no card {uuid}")
    return index, pynvml.nvmlDeviceGetHandleByIndex(index)


def _tested(
    bench: Bench, uuid: str, probe: Probe, pci: dict[str, Any], nonce: bytes
) -> tuple[Numbers | None, dict[str, Numbers]]:
    """CUDA's view and the tests; without a runtime or the device each test says why it did not run."""
    try:
        if bench.cuda is None:
            raise CudaError(bench.why_not)
        card: CudaCard = bench.cuda.open(uuid)
    except CudaError as error:
        return None, _skipped(error)
    try:
        facts = card.facts()
        return facts, Suite(card, probe, pci, nonce, bench.is_quick, bench.say).run()
    except CudaError as error:
        return None, _skipped(error)
    finally:
        card.close()


def _skipped(why: CudaError) -> dict[str, Numbers]:
    return {name: {"skipped": str(why)[:200]} for name in TESTS}


def _software(bench: Bench) -> dict[str, Any]:
    cuda = attempt(Signal("nvmlSystemGetCudaDriverVersion"))
    return {
        "driver": text(attempt(Signal("nvmlSystemGetDriverVersion"))),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        "kernel": os.uname().release,
        "nvml_sha256": None if bench.is_simulated else _library_sha256(),
    }


def _library_sha256() -> str | None:
    """The hash of the NVML library that this process has loaded: a patched one has another than the driver's."""
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
        path = next(line.split()[-1] for line in maps if "libnvidia-ml.so" in line)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, StopIteration):
        return None
