"""Which runtime this host has, and the leases on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nodes.agent.config import Config
from nodes.agent.hooks import HookFailed, run_hooks
from nodes.agent.protocol import FailureReason
from nodes.agent.workloads.api import MemoryUsed, Workloads
from nodes.agent.workloads.engine import Engine, EngineError
from nodes.agent.workloads.late import LateWorkloads
from nodes.agent.workloads.manager import LeaseManager
from nodes.agent.workloads.none import NoWorkloads
from nodes.agent.workloads.openssh import Ed25519Key
from nodes.agent.workloads.runtime import Runtime, RuntimeFailure
from nodes.agent.workloads.settings import RunHooks, Settings
from nodes.agent.workloads.store import LeaseStore
from nodes.agent.workloads.verify import PROC_DRIVER

DOCKER_SOCKETS = (Path("/run/docker.sock"), Path("/var/run/docker.sock"))
VERSION_SECONDS = 5.0  # an engine that hangs must not hold up the agent's start
PODMAN_SOCKETS = (Path("/run/podman/podman.sock"),)


def open_workloads(
    config: Config,
    on_change: Callable[[], None],
    *,
    memory_used_mib: MemoryUsed | None = None,
    card_count: Callable[[], int] = lambda: 0,
    node_seed: Callable[[], bytes] | None = None,
    proc_driver: Path = PROC_DRIVER,
) -> Workloads:
    """The leases of this host, as `api.OpenWorkloads` says; `node_seed` gives the 32 bytes of the enrolment key."""
    if config.runtime == "none":
        return NoWorkloads(on_change, "FALLOW_RUNTIME=none: set it to auto, docker or podman")
    settings = Settings(
        folder=config.state_dir,
        node_key=lambda: Ed25519Key(node_seed() if node_seed else _seed_on_disk(config.state_dir)),
        simulated=config.simulator is not None,
        memory_used_mib=memory_used_mib,
        card_count=card_count,
        run_hooks=_hooks(config),
        proxy_url=config.proxy_url,
        proc_driver=proc_driver,
    )
    runtime = find_runtime(config)
    if runtime is not None:
        return LeaseManager(runtime, settings, on_change)
    return LateWorkloads(
        lambda: find_runtime(config),
        lambda found: LeaseManager(found, settings, on_change),
        on_change,
        expected=_is_expected(config),
    )


def _is_expected(config: Config) -> bool:
    """Whether leases may run though no engine answers: the owner named it, or it had leases before."""
    named = config.runtime in ("docker", "podman") or config.engine_socket is not None
    return named or (config.state_dir / "leases").is_dir()


def running_leases(config: Config) -> list[str]:
    """Leases that are on this host now by the agent's records or the engine's labels; raises RuntimeFailure."""
    records = LeaseStore(config.state_dir / "leases").load()
    known = {record.command.lease for record in records if record.final is None}
    runtime = find_runtime(config)
    return sorted(known | ({each.lease for each in runtime.list()} if runtime else set()))


def find_runtime(config: Config) -> Runtime | None:
    """The runtime that the settings name, or the first that this host has."""
    if config.runtime == "process":
        return _processes(config)
    if config.runtime == "none":
        return None
    for path in _sockets(config):
        engine = Engine(path)
        try:
            about = engine.call("GET", "/version", seconds=VERSION_SECONDS)
        except EngineError:
            continue
        return _containers(config, engine, about)
    return _processes(config, unasked=True) if config.runtime == "auto" else None


def _containers(config: Config, engine: Engine, about: Mapping[str, object]) -> Runtime:
    from nodes.agent.workloads.image_cache import ImageCache  # noqa: PLC0415 - as below

    images = ImageCache(engine, config.state_dir / "images.json", config.local_images)
    # Each host needs one runtime; loading the others would make its start slower.
    if _is_podman(about):
        from nodes.agent.workloads.podman import PodmanRuntime  # noqa: PLC0415

        return PodmanRuntime(engine, images)
    from nodes.agent.workloads.docker import DockerRuntime  # noqa: PLC0415

    return DockerRuntime(engine, images)


def _processes(config: Config, *, unasked: bool = False) -> Runtime | None:
    from nodes.agent.workloads import process  # noqa: PLC0415 - as above

    if unasked and not process.allowed():
        return None
    return process.ProcessRuntime(config.state_dir / "processes")


def _sockets(config: Config) -> Sequence[Path]:
    if config.engine_socket is not None:
        return [config.engine_socket]
    places = {"docker": DOCKER_SOCKETS, "podman": PODMAN_SOCKETS}.get(config.runtime, DOCKER_SOCKETS + PODMAN_SOCKETS)
    return [path for path in places if path.is_socket()]


def _is_podman(about: Mapping[str, object]) -> bool:
    return "podman" in str(about.get("Components", "")).lower()


def _hooks(config: Config) -> RunHooks:
    def run(event: str, values: dict[str, str]) -> None:
        try:
            run_hooks(config.hooks_dir, event, values, seconds=config.hook_seconds)
        except HookFailed as error:
            raise RuntimeFailure(FailureReason.OWNER_HOOK_FAILED, str(error)) from error

    return run


def _seed_on_disk(state_dir: Path) -> bytes:
    try:
        return (state_dir / "node.key").read_bytes()[:32]
    except OSError as error:
        raise RuntimeFailure(FailureReason.RELAY_UNAVAILABLE, f"the node's key can't be read: {error}") from error
