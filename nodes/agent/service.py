"""The agent as a process: puts the parts together and runs until it is told to end."""

from __future__ import annotations

import base64
import gc
import logging
import signal
import threading

from nacl.signing import VerifyKey

from nodes.agent.client import Route
from nodes.agent.config import Config
from nodes.agent.conversation import Conversation
from nodes.agent.gpu import GpuReader, StallGuard
from nodes.agent.host import boot_id
from nodes.agent.leases import Leases
from nodes.agent.link import Link, boot_ms
from nodes.agent.nvml import NvmlReader
from nodes.agent.runner import Parts, Runner
from nodes.agent.spool import Spool
from nodes.agent.state import StateDir, StateError
from nodes.agent.workloads import open_workloads

log = logging.getLogger(__name__)


def run_agent(config: Config) -> None:
    """Work until SIGTERM or SIGINT; raises StateError when this host is not enrolled."""
    state = StateDir(config.state_dir)
    state.create()
    if not state.lock():
        raise StateError(f"another agent works with {config.state_dir}")
    service = Service(config, state)
    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        service.runner.wake()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    gc.freeze()
    try:
        service.runner.run_forever(stop)
    finally:
        service.close()


class Service:
    """Everything that a running agent has open."""

    def __init__(self, config: Config, state: StateDir) -> None:
        enrolment = state.enrolment()
        if enrolment is None:
            raise StateError("this host is not enrolled: fallow-agent enrol --server URL --token TOKEN")
        run = state.next_run()
        workloads = open_workloads(
            config, self._on_change, memory_used_mib=self._memory_used_mib, card_count=self._card_count
        )
        workloads.recover()
        key = VerifyKey(base64.b64decode(enrolment.command_public_key))
        leases = Leases(workloads, state, key, enrolment.node, run=run, boot=boot_id(), now=boot_ms())
        self._spool = Spool(state.folder / "spool.sqlite3", bytes_max=config.spool_bytes)
        self._link = Link(enrolment, state.key(), route_of(config), server_url=config.server_url)
        self._reader = reader_of(config)
        parts = Parts(
            reader=self._reader,
            leases=leases,
            conversation=Conversation(self._link, self._spool, leases),
            spool=self._spool,
            state=state,
            run=run,
            boot=boot_id(),
        )
        self.runner = Runner(parts, watch_seconds=config.watch_seconds)
        log.info("node %s, run %d, runtime %s", enrolment.node, run, workloads.runtime)

    def close(self) -> None:
        """Let go of the driver, the files and the connections. Workloads go on."""
        self._reader.close()
        self._link.close()
        self._spool.close()

    def _on_change(self) -> None:
        # A lease that was found at the start may move before there is a runner to tell.
        if runner := getattr(self, "runner", None):
            runner.wake()

    def _memory_used_mib(self, uuid: str) -> int | None:
        runner: Runner | None = getattr(self, "runner", None)
        return runner.snapshot.memory_used_mib(uuid) if runner else None

    def _card_count(self) -> int:
        runner: Runner | None = getattr(self, "runner", None)
        return len(runner.snapshot.cards) if runner else 0


def reader_of(config: Config) -> GpuReader:
    """The cards of this host, or of the scripted fleet that the settings name."""
    if config.simulator is not None:
        from nodes.agent import simulator  # noqa: PLC0415 - a host with cards has no use for it

        simulator.install(config.simulator)
    return StallGuard(NvmlReader(ignored_owners=config.ignored_owners))


def route_of(config: Config) -> Route:
    """How the settings say that the server is reached."""
    return Route(ca_file=config.ca_file, proxy_url=config.proxy_url)
