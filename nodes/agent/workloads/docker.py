"""dockerd: device requests (or CDI where the daemon has it), and all that podman's Docker endpoint does alike."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.access import LEASE_MOUNTED_AT
from nodes.agent.workloads.bundle import MOUNTED_AT
from nodes.agent.workloads.cards import device_request, has_cdi
from nodes.agent.workloads.disk import folder_mib, free_mib
from nodes.agent.workloads.engine import CALL_SECONDS, Engine, EngineError
from nodes.agent.workloads.firewall import Firewall, bridge_name
from nodes.agent.workloads.image_cache import ImageCache
from nodes.agent.workloads.images import full_name
from nodes.agent.workloads.runtime import (
    ASSIGNMENT_LABEL,
    EPOCH_LABEL,
    GPUS_VARIABLE,
    HOST_KEY_LABEL,
    LEASE_LABEL,
    Container,
    ContainerPlan,
    ExecResult,
    RuntimeFailure,
)

# What an sshd and a package manager need inside, of the fourteen that engines give by default; no NET_RAW, no MKNOD.
CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
]
CLOSED_VARIABLES = ("NVIDIA_", "LD_")
MIB = 1024**2


class DockerRuntime:
    """Leases on dockerd."""

    name = "docker"
    ssh_user = "root"
    forwards_ports = True

    def __init__(self, engine: Engine, images: ImageCache) -> None:
        self.engine = engine
        self._images = images
        self._firewall = Firewall()

    def pull(self, image: str, auth: Mapping[str, str] | None, on_progress: Callable[[int], None]) -> None:
        self._images.pull(image, auth, on_progress)

    def let_go(self, image: str | None) -> None:
        try:
            free = self.disk_free_mib()
        except RuntimeFailure:
            free = None
        self._images.let_go(image, free)

    def create(self, plan: ContainerPlan) -> str:
        self._firewall.close()
        try:
            self._remove_by_lease(plan.lease)
            self._create_network(plan)
            return self._create_container(plan)
        except EngineError as error:
            raise _create_failure(error) from error

    def start(self, container: str) -> None:
        try:
            self.engine.call("POST", f"/containers/{container}/start")
        except EngineError as error:
            raise RuntimeFailure(_start_reason(error), f"container can't be started: {error.message}") from error

    def exec(self, container: str, argv: Sequence[str]) -> ExecResult:
        wanted = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(argv)}
        with _AsFailure("command can't be run inside"):
            made = self.engine.call("POST", f"/containers/{container}/exec", wanted)
            output = self.engine.raw("POST", f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
            code = self.engine.get(f"/exec/{made['Id']}/json")["ExitCode"]
        return ExecResult(-1 if code is None else int(code), _demultiplexed(output))

    def inspect(self, container: str) -> Container | None:
        try:
            return _container(self.engine.get(f"/containers/{container}/json"))
        except EngineError as error:
            if error.status == 404:
                return None
            raise _failure("container can't be looked at", error) from error

    def list(self) -> list[Container]:
        filters = json.dumps({"label": [LEASE_LABEL]})
        with _AsFailure("containers can't be listed"):
            rows = self.engine.get("/containers/json", all="true", filters=filters)
        seen = [self.inspect(row["Id"]) for row in rows]
        return [each for each in seen if each is not None]

    def logs(self, container: str) -> str:
        try:
            query = {"stdout": "true", "stderr": "true", "tail": "200"}
            return _demultiplexed(self.engine.raw("GET", f"/containers/{container}/logs", query=query))
        except EngineError:
            return ""

    def disk_used_mib(self, container: str) -> int | None:
        filters = json.dumps({"id": [container]})
        with _AsFailure("disk use is not known"):
            rows = self.engine.get("/containers/json", all="true", size="true", filters=filters)
            volumes = self._volumes(container)
        return int(rows[0].get("SizeRw") or 0) // MIB + sum(map(folder_mib, volumes)) if rows else None

    def disk_free_mib(self) -> int | None:
        with _AsFailure("the engine does not say where it keeps containers"):
            folder = self._storage_folder()
        return free_mib(Path(folder))

    def keep_closed(self) -> None:
        self._firewall.keep_closed()

    def stop(self, container: str, grace_seconds: int) -> None:
        seconds = CALL_SECONDS + grace_seconds
        with _AsFailure("container can't be stopped", ignored=(304, 404)):
            path = f"/containers/{container}/stop"
            self.engine.call("POST", path, query={"t": grace_seconds}, seconds=seconds)

    def remove(self, container: str, lease: str) -> None:
        with _AsFailure("container can't be removed"):
            if container:
                self._remove_container(container)
            self._remove_by_lease(lease)

    def owns_pid(self, pid: int, containers: Sequence[str]) -> bool:
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return False
        return any(each in groups for each in containers)

    def _remove_by_lease(self, lease: str) -> None:
        # By label and not by the 409 of a name that is taken: podman answers 500 there.
        filters = json.dumps({"label": [f"{LEASE_LABEL}={lease}"]})
        for row in self.engine.get("/containers/json", all="true", filters=filters):
            self._remove_container(row["Id"])
        with _Ignoring(404):
            self.engine.call("DELETE", f"/networks/{network_name(lease)}")

    def _remove_container(self, container: str) -> None:
        with _Ignoring(404):
            self.engine.call("DELETE", f"/containers/{container}", query={"force": "true", "v": "true"})

    def _create_network(self, plan: ContainerPlan) -> None:
        options = {
            "com.docker.network.bridge.name": bridge_name(plan.lease),
            "com.docker.network.bridge.enable_icc": "false",
        }
        wanted = {
            "Name": network_name(plan.lease),
            "Driver": "bridge",
            "EnableIPv6": False,
            "Options": options,
            "Labels": {LEASE_LABEL: plan.lease},
        }
        self.engine.call("POST", "/networks/create", wanted)

    def _create_container(self, plan: ContainerPlan) -> str:
        cdi = not plan.simulated and has_cdi(self.engine.get("/info"), plan.gpus)
        requests = [] if plan.simulated else [device_request(plan.gpus, cdi=cdi)]
        variables = environment(plan, void=cdi or plan.simulated)
        wanted = {
            "Image": full_name(plan.image),
            "User": "0:0",
            "Entrypoint": ["/bin/sh", f"{LEASE_MOUNTED_AT}/start"],
            "Cmd": list(plan.command),
            "Env": [f"{key}={value}" for key, value in variables.items()],
            "Labels": labels(plan),
            "StopSignal": "SIGTERM",
            "HostConfig": self._host_config(plan) | {"DeviceRequests": requests},
        }
        query = {"name": container_name(plan)}
        container = str(self.engine.call("POST", "/containers/create", wanted, query=query)["Id"])
        if hidden := [str(each) for each in self._volumes(container) if not each.is_dir()]:
            self._remove_container(container)
            detail = f"the image declares volumes that the agent can't see and so not limit: {', '.join(hidden)}"
            raise RuntimeFailure(FailureReason.IMAGE_DENIED, detail)
        return container

    def _volumes(self, container: str) -> Sequence[Path]:
        """Those that the image declares; dockerd can't be told to leave them out."""
        mounts = self.engine.get(f"/containers/{container}/json").get("Mounts") or []
        return [Path(each["Source"]) for each in mounts if each.get("Type") == "volume"]

    def _storage_folder(self) -> str:
        return str(self.engine.get("/info")["DockerRootDir"])

    def _host_config(self, plan: ContainerPlan) -> dict[str, Any]:
        memory = plan.memory_mib * MIB
        return {
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": plan.cpu_millis * 1_000_000,
            "PidsLimit": plan.pids,
            "ShmSize": plan.shm_mib * MIB,
            "CapDrop": ["ALL"],
            "CapAdd": CAPABILITIES,
            "SecurityOpt": ["no-new-privileges"],
            "NetworkMode": network_name(plan.lease),
            "Dns": list(plan.dns),
            "Binds": [f"{source}:{target}:ro" for source, target in mounts(plan)],
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}},
        }


def network_name(lease: str) -> str:
    """One network for each lease."""
    return f"fallow-{lease}"


def container_name(plan: ContainerPlan) -> str:
    """Unique for each epoch of a lease."""
    return f"fallow-{plan.lease}-{max(plan.epochs.values(), default=0)}"


def labels(plan: ContainerPlan) -> dict[str, str]:
    """What the agent's state is rebuilt from after a crash."""
    return {
        LEASE_LABEL: plan.lease,
        ASSIGNMENT_LABEL: plan.assignment,
        EPOCH_LABEL: json.dumps(dict(plan.epochs), sort_keys=True),
        HOST_KEY_LABEL: plan.access.host_key,
    }


def environment(plan: ContainerPlan, *, void: bool) -> dict[str, str]:
    """The buyer's variables but those that steer nvidia's hook or the loader; the cards' names are ours.

    `void` tells the hook to bring no card in: another way does, and images ask for all of them.
    """
    theirs = {key: value for key, value in plan.env.items() if not key.startswith(CLOSED_VARIABLES)}
    ours = {GPUS_VARIABLE: ",".join(plan.gpus)}
    return theirs | ours | ({"NVIDIA_VISIBLE_DEVICES": "void"} if void else {})


def mounts(plan: ContainerPlan) -> list[tuple[str, str]]:
    """Host folder or file -> place inside, all read-only."""
    assert plan.access.bundle is not None
    return [
        (str(plan.access.bundle), MOUNTED_AT),
        (str(plan.access.folder), LEASE_MOUNTED_AT),
        (str(plan.access.authorized_keys), "/root/.ssh/authorized_keys"),
    ]


class _Ignoring(contextlib.AbstractContextManager[None]):
    def __init__(self, *statuses: int) -> None:
        self._statuses = statuses

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, EngineError) and error.status in self._statuses


class _AsFailure(contextlib.AbstractContextManager[None]):
    def __init__(self, what: str, ignored: Sequence[int] = ()) -> None:
        self._what = what
        self._ignored = ignored

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, EngineError):
            return False
        if error.status in self._ignored:
            return True
        raise _failure(self._what, error) from error


def _failure(what: str, error: EngineError) -> RuntimeFailure:
    reason = FailureReason.IMAGE_NOT_FOUND if "no such image" in error.message.lower() else _reason(error)
    return RuntimeFailure(reason, f"{what}: {error.message}")


def _create_failure(error: EngineError) -> RuntimeFailure:
    """A request that the engine finds badly made is so by what the buyer wrote: all else in it is ours."""
    failure = _failure("container can't be created", error)
    if error.status == 400 and failure.reason is FailureReason.ENGINE_UNAVAILABLE:
        failure.reason = FailureReason.IMAGE_NOT_FOUND
    return failure


def _reason(error: EngineError) -> FailureReason:
    gpu = "device driver" in error.message or "cdi device" in error.message.lower()
    return FailureReason.GPU_NOT_VISIBLE if gpu else FailureReason.ENGINE_UNAVAILABLE


def _start_reason(error: EngineError) -> FailureReason:
    text = error.message.lower()
    if "/bin/sh" in text or "executable file" in text:
        return FailureReason.WORKLOAD_EXITED
    return _reason(error)


def _container(row: dict[str, Any]) -> Container:
    label = row["Config"].get("Labels") or {}
    state = row["State"]
    running = bool(state.get("Running"))
    networks = (row.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        id=row["Id"],
        lease=label.get(LEASE_LABEL, ""),
        assignment=label.get(ASSIGNMENT_LABEL, ""),
        epochs={key: int(value) for key, value in json.loads(label.get(EPOCH_LABEL) or "{}").items()},
        host_key=label.get(HOST_KEY_LABEL, ""),
        running=running,
        exit_code=None if running else state.get("ExitCode"),
        address=next((each["IPAddress"] for each in networks.values() if each.get("IPAddress")), ""),
    )


def _demultiplexed(data: bytes) -> str:
    """Text of the engine's frames: a byte for the stream, three zeros, the length in four bytes, the bytes."""
    text = b""
    while len(data) >= 8 and data[0] in (0, 1, 2) and data[1:4] == b"\0\0\0":
        length = int.from_bytes(data[4:8], "big")
        text += data[8 : 8 + length]
        data = data[8 + length :]
    return (text + data).decode(errors="replace")
