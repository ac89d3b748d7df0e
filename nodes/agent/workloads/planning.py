"""What a lease's container is to be: its way in, its limits, and whether this host has the room."""

from __future__ import annotations

from nodes.agent.protocol import AssignmentCommand, FailureReason, WorkloadSpec
from nodes.agent.workloads.access import prepare_access
from nodes.agent.workloads.bundle import build_bundle
from nodes.agent.workloads.host import Host
from nodes.agent.workloads.openssh import Ed25519Key
from nodes.agent.workloads.runtime import ContainerPlan, RuntimeFailure
from nodes.agent.workloads.shares import Share, host_size, share_of


def plan_container(host: Host, command: AssignmentCommand, spec: WorkloadSpec) -> ContainerPlan:
    """The container of a lease; makes its keys. Raises RuntimeFailure."""
    _refuse_without_disk(host, spec)
    folder = host.store.folder(command.lease)
    engine = host.runtime.name != "process"
    bundle = build_bundle(host.settings.folder / "bundles") if engine else None
    try:
        access = prepare_access(folder / "access", spec.ssh_public_key, bundle, Ed25519Key.generate())
    except ValueError as error:
        raise RuntimeFailure(FailureReason.WORKLOAD_EXITED, f"the buyer's key: {error}") from error
    share = _share(host, len(command.epochs))
    return ContainerPlan(
        lease=command.lease,
        assignment=command.assignment,
        epochs=command.epochs,
        image=spec.image,
        access=access,
        command=spec.command or (),
        env=spec.env,
        simulated=host.settings.simulated,
        cpu_millis=spec.cpu_millis or share.cpu_millis,
        memory_mib=spec.memory_mib or share.memory_mib,
        shm_mib=spec.shm_mib,
        pids=spec.pids,
        disk_gib=spec.disk_gib,
        dns=host.settings.dns,
    )


def _share(host: Host, cards: int) -> Share:
    # A lease that is begun again at the agent's start may be planned before the first sample.
    known_to_driver = sum(1 for _ in host.settings.proc_driver.glob("gpus/*"))
    return share_of(host_size(), cards, max(host.settings.card_count(), known_to_driver))


def _refuse_without_disk(host: Host, spec: WorkloadSpec) -> None:
    free = host.runtime.disk_free_mib()
    if free is not None and spec.disk_gib * 1024 > free:
        detail = f"{spec.disk_gib} GiB of disk are wanted, {free // 1024} GiB are free on this host"
        raise RuntimeFailure(FailureReason.ENGINE_UNAVAILABLE, detail)
