"""One lease from its pull to its end, on a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from nodes.agent.protocol import (
    LOG_LENGTH_MAX,
    Ack,
    AssignmentCommand,
    FailureReason,
    LogTail,
    Phase,
    WorkloadSpec,
)
from nodes.agent.workloads.host import Host
from nodes.agent.workloads.patience import Patience
from nodes.agent.workloads.planning import plan_container
from nodes.agent.workloads.runtime import Container, RuntimeFailure
from nodes.agent.workloads.store import Record
from nodes.agent.workloads.tunnel import Forward, Tunnel, end_left_behind
from nodes.agent.workloads.verify import verify_gpus

log = logging.getLogger(__name__)

BASELINE_MARGIN_MIB = 64
PROGRESS_STEP_PERCENT = 5


class Stopped(Exception):
    """Somebody asked for the end while the lease was still on its way up."""


class LeaseRun:
    """Brings one lease up, watches it and takes it down; `phase` is what reports say of it."""

    def __init__(self, host: Host, record: Record, *, adopted: Container | None = None) -> None:
        self.record = record
        self.phase = record.phase
        self._host = host
        self._adopted = adopted
        self._stop = threading.Event()
        self._reason: FailureReason | None = None
        self._tunnel: Tunnel | None = None
        self._host_key = adopted.host_key if adopted else ""
        self._gpus_seen: list[str] = sorted(adopted.epochs) if adopted else []
        self._progress = -1
        self._announced = False
        self._next_firewall_check = self._next_disk_check = self._next_log = 0.0
        self._patience = Patience(self.command.lease, host.settings.engine_seconds)
        self._held_image: str | None = None
        self._may_exist = adopted is not None
        self._log = ""
        self._thread = threading.Thread(target=self._run, name=f"lease {self.command.lease}", daemon=True)

    @property
    def command(self) -> AssignmentCommand:
        return self.record.command

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin on the lease's own thread."""
        self._thread.start()

    def stop(self, reason: FailureReason | None = None, grace_seconds: int | None = None) -> None:
        """Ask for the end; `reason` when it is the host's own wish."""
        if grace_seconds is not None:
            self.record.command = replace(self.command, stop_grace_seconds=grace_seconds)
        self._reason = self._reason or reason
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Whether it has ended within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def offer_relays(self, command: AssignmentCommand) -> None:
        """A lease that was rebuilt from labels alone learns of its relay from the next command."""
        if not self.command.relays and command.relays:
            self.record.command = command
            self._save()

    def _save(self) -> None:
        """A full disk must not end a lease's thread: the engine's labels tell of the container as well."""
        try:
            self._host.store.save(self.record)
        except OSError as error:
            log.error("lease %s: its record can't be written: %s", self.command.lease, error)

    def _run(self) -> None:
        phase, reason, detail = Phase.STOPPED, None, None
        try:
            if self._adopted is None:
                self._bring_up()
            self._watch()
        except Stopped:
            reason = self._reason
        except RuntimeFailure as failure:
            phase, reason, detail = Phase.FAILED, failure.reason, failure.detail
        except Exception as error:
            log.exception("lease %s", self.command.lease)
            unforeseen = RuntimeFailure(FailureReason.INTERNAL, f"{type(error).__name__}: {error}")
            phase, reason, detail = Phase.FAILED, unforeseen.reason, unforeseen.detail
        self._take_down(phase, reason, detail)

    # ---- up

    def _bring_up(self) -> None:
        runtime, spec = self._host.runtime, self._spec()
        self._enter(Phase.PULLING, progress_percent=0)
        self._held_image = spec.image
        runtime.pull(spec.image, spec.registry_auth, self._pulled)
        plan = plan_container(self._host, self.command, spec)
        self._host_key = plan.access.host_key
        self._enter(Phase.STARTING)
        with self._host.one_at_a_time:
            self._go_on()
            self._host.make_room(self.command)
            self._remember_baseline()
            self._may_exist = True
            self.record.container = runtime.create(plan)
        self._save()
        self._host.settings.run_hooks("lease-start", self._hook_values())
        self._go_on()
        runtime.start(self.record.container)
        self._wait_for_sshd()
        self._gpus_seen = verify_gpus(runtime, self.record.container, plan, self._host.settings.proc_driver)

    def _spec(self) -> WorkloadSpec:
        if self.command.spec is None:
            raise RuntimeFailure(FailureReason.INTERNAL, "a command to run without a workload")
        return self.command.spec

    def _pulled(self, percent: int) -> None:
        self._go_on()
        if percent >= self._progress + PROGRESS_STEP_PERCENT:
            self._progress = percent
            self._enter(Phase.PULLING, progress_percent=percent)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _remember_baseline(self) -> None:
        read = self._host.settings.memory_used_mib
        if read is not None and not self.record.baseline:
            readings = {uuid: read(uuid) for uuid in self.command.epochs}
            self.record.baseline = {uuid: used for uuid, used in readings.items() if used is not None}
            self._save()

    def _wait_for_sshd(self) -> None:
        deadline = time.monotonic() + self._host.settings.sshd_seconds
        while True:
            self._go_on()
            container = self._inspect_running()
            if container.address and _greets(container.address, container.ssh_port):
                return
            if time.monotonic() > deadline:
                said = self._host.runtime.logs(container.id).strip()[-300:]
                raise RuntimeFailure(FailureReason.INTERNAL, f"no sshd answers in the container: {said}")
            self._stop.wait(0.1)

    def _inspect_running(self) -> Container:
        runtime = self._host.runtime
        container = runtime.inspect(self.record.container)
        if container is None:
            raise RuntimeFailure(FailureReason.INTERNAL, "the container is gone")
        if not container.running:
            said = f"exit code {container.exit_code}: {runtime.logs(container.id).strip()[-300:]}"
            if self._patience.is_tried:
                raise RuntimeFailure(FailureReason.INTERNAL, f"it ended while the engine was away, {said}")
            raise RuntimeFailure(FailureReason.WORKLOAD_EXITED, said)
        return container

    # ---- while it runs

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_after()
                self._patience.rest()
            except (RuntimeFailure, OSError) as error:
                self._patience.bear(error)
            self._stop.wait(self._host.settings.watch_seconds)
        raise Stopped

    def _look_after(self) -> None:
        container = self._inspect_running()
        if self._adopted is not None:
            self._announce()  # it ran all along; its tunnel may take a while to come back
        if self._tunnel is None and self.command.relays:
            self._dial(container)
        self._announce()
        now = time.monotonic()
        if now >= self._next_firewall_check:
            self._next_firewall_check = now + self._host.settings.firewall_check_seconds
            self._host.runtime.keep_closed()
        if now >= self._next_disk_check:
            self._next_disk_check = now + self._host.settings.disk_check_seconds
            self._check_disk()
        if now >= self._next_log:
            self._next_log = now + self._host.settings.log_seconds
            self._keep_log()

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._enter(Phase.RUNNING)

    def _dial(self, container: Container) -> None:
        ports = [container.ssh_port]
        if self._host.runtime.forwards_ports and self.command.spec is not None:
            ports += self.command.spec.ports
        forwards = [
            Forward(relay, container.address, port) for relay, port in zip(self.command.relays, ports, strict=False)
        ]
        folder = self._host.store.folder(self.command.lease) / "tunnel"
        settings = self._host.settings
        tunnel = Tunnel(folder, settings.node_key(), forwards, proxy_url=settings.proxy_url)
        tunnel.start()
        self._tunnel = tunnel
        adopted = self._adopted is not None
        if not self._wait_tunnel(tunnel) and not adopted:
            raise RuntimeFailure(FailureReason.RELAY_UNAVAILABLE, tunnel.last_line or "no tunnel stood in time")

    def _wait_tunnel(self, tunnel: Tunnel) -> bool:
        deadline = time.monotonic() + self._host.settings.tunnel_seconds
        while not tunnel.wait_up(0.2):
            self._go_on()
            if time.monotonic() > deadline:
                return False
        return True

    def _check_disk(self) -> None:
        try:
            used = self._host.runtime.disk_used_mib(self.record.container)
        except RuntimeFailure as failure:
            log.warning("lease %s: %s", self.command.lease, failure.detail)
            return
        limit = self.command.spec.disk_gib * 1024 if self.command.spec else None
        if used is not None and limit is not None and used > limit:
            raise RuntimeFailure(FailureReason.WORKLOAD_EXITED, f"{used} MiB written, {limit} MiB is the limit")

    def _keep_log(self) -> None:
        text = self._host.runtime.logs(self.record.container)[-LOG_LENGTH_MAX:]
        if text and text != self._log:
            self._log = text
            self._host.keep_log(LogTail(self.command.assignment, text))

    # ---- down

    def _take_down(self, phase: Phase, reason: FailureReason | None, detail: str | None) -> None:
        self._enter(Phase.STOPPING, reason=reason, detail=detail)
        if self._tunnel is not None:
            self._attempt("its tunnel", self._tunnel.stop)
        folder = self._host.store.folder(self.command.lease) / "tunnel"
        self._attempt("a tunnel from before", lambda: end_left_behind(folder))
        self._remove_container(phase)
        self._attempt("its image", lambda: self._host.runtime.let_go(self._held_image))
        self._attempt("the hook at its end", lambda: self._host.settings.run_hooks("lease-end", self._hook_values()))
        final = replace(self._ack(phase, reason=reason, detail=detail), memory_at_baseline=self._wait_for_baseline())
        self._attempt("its record", lambda: self._host.store.finish(self.record, final))
        self.phase = phase
        self._host.emit(final)

    def _attempt(self, what: str, step: Callable[[], None]) -> None:
        """A step of the way down that must not keep the next one from being done."""
        try:
            step()
        except Exception as error:
            log.warning("lease %s: %s: %s", self.command.lease, what, error)

    def _remove_container(self, phase: Phase) -> None:
        """Until it is really gone: a lease must never be called stopped while its container may run."""
        grace = self.command.stop_grace_seconds if phase is Phase.STOPPED else 0
        while True:
            try:
                if self.record.container:
                    self._host.runtime.stop(self.record.container, grace)
                    self._keep_log()
                self._host.runtime.remove(self.record.container, self.command.lease)
                return
            except Exception as error:
                log.warning("lease %s can't be removed yet: %s", self.command.lease, error)
                if not self._may_exist:
                    return  # nothing was ever made, and the engine may be missing for good
                time.sleep(self._host.settings.retry_seconds)

    def _wait_for_baseline(self) -> bool | None:
        read = self._host.settings.memory_used_mib
        if read is None:
            return None
        deadline = time.monotonic() + self._host.settings.baseline_seconds
        while not all(_at_baseline(read(uuid), used) for uuid, used in self.record.baseline.items()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    # ---- what is told

    def _enter(
        self,
        phase: Phase,
        *,
        progress_percent: int | None = None,
        reason: FailureReason | None = None,
        detail: str | None = None,
    ) -> None:
        self.phase = self.record.phase = phase
        if progress_percent is None or progress_percent == 0:
            self._save()
        self._host.emit(self._ack(phase, progress_percent=progress_percent, reason=reason, detail=detail))

    def _ack(
        self,
        phase: Phase,
        *,
        progress_percent: int | None = None,
        reason: FailureReason | None = None,
        detail: str | None = None,
    ) -> Ack:
        running = phase is Phase.RUNNING
        return Ack(
            assignment=self.command.assignment,
            lease=self.command.lease,
            epochs=dict(self.command.epochs),
            phase=phase,
            run=0,
            seq=0,
            mono_ms=0,
            progress_percent=progress_percent,
            reason=reason,
            detail=detail,
            ssh_user=self._host.runtime.ssh_user if running else None,
            ssh_host_key=self._host_key if running else None,
            gpus_seen=self._gpus_seen if running else [],
        )

    def _hook_values(self) -> dict[str, str]:
        return {"lease": self.command.lease, "gpus": ",".join(sorted(self.command.epochs))}


def _at_baseline(used: int | None, baseline: int) -> bool:
    return used is None or used <= baseline + BASELINE_MARGIN_MIB


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
