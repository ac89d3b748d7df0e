"""A real engine for the tests: podman and runc from Debian in a folder of their own, without touching the host's."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodes.agent.config import Config
from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.engine import Engine, EngineError
from nodes.agent.workloads.manager import LeaseManager
from tests.nodes.agent.workloads.host import Buyer, run_and_kill
from tests.nodes.relay.conftest import RunningRelay, echo, free_port, limits, relay, wait_until

__all__ = ["echo", "limits", "relay"]

IMAGE = "localhost/fallow-busybox:1"
VOLUME_IMAGE = "localhost/fallow-volume:1"
PROGRAMS = ["podman", "runc", "conmon", "nft", "ip", "dropbear", "rsync", "scp", "sftp"]
CDI_FILE = Path("/var/run/cdi/fallow-tests.json")
GPUS = {
    0: "GPU-22222222-0000-0000-0000-000000000000",
    1: "GPU-22222222-0000-0000-0000-000000000001",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.enable_socket)  # the engine's unix socket, and containers by their address


@dataclass(frozen=True)
class PodmanEngine:
    socket: Path
    env: dict[str, str]
    registry: str
    closed: set[str]  # names of which the registry says "unauthorized"
    proc_driver: Path


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanEngine]:
    """podman's service, with busybox as its image and two cards that are /dev/null."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if os.geteuid() != 0 or missing or not Path("/bin/busybox").exists():
        wanted = "root" if os.geteuid() else f"{', '.join(missing)} busybox-static"
        pytest.skip(f"a container engine: needs {wanted} (apt: podman runc busybox-static dropbear-bin rsync nftables)")
    folder = tmp_path_factory.mktemp("engine")
    registry = _Registry(folder / "served")
    env = _write_configuration(folder, registry.address)
    _import_busybox(folder, env)
    _write_cdi()
    with (folder / "service.log").open("wb") as log:
        command = ["podman", "system", "service", "--time", "0", f"unix://{folder}/podman.sock"]
        service = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=log)
    try:
        if not answers(folder / "podman.sock"):
            pytest.skip(
                f"a container engine: podman does not start here: {(folder / 'service.log').read_text()[-300:]}"
            )
        yield PodmanEngine(folder / "podman.sock", env, registry.address, registry.closed, _write_proc_driver(folder))
    finally:
        subprocess.run(["podman", "rm", "-af", "-t", "0"], env=env, capture_output=True, check=False)
        service.terminate()
        service.wait(20)
        registry.close()
        CDI_FILE.unlink(missing_ok=True)
        subprocess.run(["nft", "delete", "table", "inet", "fallow"], capture_output=True, check=False)
        subprocess.run(["umount", "-l", f"{folder}/graph/overlay"], capture_output=True, check=False)


def _write_configuration(folder: Path, registry: str) -> dict[str, str]:
    (folder / "containers.conf").write_text(
        "[containers]\n"
        'default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
        "[engine]\n"
        'cgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
        f'exit_command_delay = 1\ntmp_dir = "{folder}/tmp"\n'
        "[engine.runtimes]\n"
        f'runc = ["{shutil.which("runc", path="/usr/sbin:/usr/bin")}"]\n'
        f'[network]\nnetwork_config_dir = "{folder}/networks"\n'
    )
    (folder / "networks").mkdir()
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
    )
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    return {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
    }


def _import_busybox(folder: Path, env: dict[str, str]) -> None:
    root = folder / "image"
    for name in ("bin", "etc", "tmp", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    with tarfile.open(folder / "image.tar", "w") as archive:
        archive.add(root, arcname=".")
    command = ["podman", "import", "-q", "--change", "ENV FROM_IMAGE=kept", str(folder / "image.tar"), IMAGE]
    subprocess.run(command, env=env, check=True, capture_output=True)
    served = "localhost/fallow-served:1"  # another image, which the registry has and the host has not
    for words in (
        ["import", "-q", "--change", "ENV FROM_IMAGE=served", str(folder / "image.tar"), served],
        ["save", "-q", "--format", "docker-dir", "-o", str(folder / "served"), served],
        ["rmi", served],
    ):
        subprocess.run(["podman", *words], env=env, check=True, capture_output=True)


def _write_cdi() -> None:
    devices = [
        {
            "name": uuid,
            "containerEdits": {
                "deviceNodes": [
                    {"path": f"/dev/nvidia{minor}", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3}
                ]
            },
        }
        for minor, uuid in GPUS.items()
    ]
    CDI_FILE.parent.mkdir(parents=True, exist_ok=True)
    CDI_FILE.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))


def _write_proc_driver(folder: Path) -> Path:
    for minor, uuid in GPUS.items():
        path = folder / f"proc/gpus/0000:0{minor}:00.0/information"
        path.parent.mkdir(parents=True)
        path.write_text(f"Model: \t\t Test\nGPU UUID:\t {uuid}\nDevice Minor: \t {minor}\n")
    return folder / "proc"


def answers(path: Path) -> bool:
    def ping() -> bool:
        try:
            Engine(path).get("/version")
        except (EngineError, http.client.HTTPException):
            return False
        return True

    try:
        wait_until(ping, "podman", 20)
    except AssertionError:
        return False
    return True


class _Registry:
    """A registry with one image, `public/box:1`; nobody may see /secret/ or what is closed, all else is unknown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed: set[str] = set()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = registry.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if "/secret/" in path or any(f"/{name}/" in path for name in self.closed):
            return 401, "application/json", b'{"errors": [{"code": "UNAUTHORIZED", "message": "unauthorized"}]}'
        if path == "/v2/public/box/manifests/1":
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            return 200, kind, (self.folder / "manifest.json").read_bytes()
        blob = self.folder / path.rpartition("sha256:")[2]
        if path.startswith("/v2/public/box/blobs/") and blob.is_file():
            return 200, "application/octet-stream", blob.read_bytes()
        return 404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def config_of(folder: Path, socket_path: Path) -> Config:
    """An agent's settings on an engine; busybox is an image that no registry has."""
    return Config(
        state_dir=folder / "state",
        config_dir=folder / "etc",
        engine_socket=socket_path,
        local_images=frozenset([IMAGE, VOLUME_IMAGE]),
    )


OpenHost = Callable[..., LeaseManager]
KilledAgent = Callable[[AssignmentCommand], Ack]


@pytest.fixture
def open_host(engine: PodmanEngine, relay: RunningRelay, tmp_path: Path) -> Iterator[OpenHost]:
    """Opens the host's leases as an agent does at its start; whatever is left at the end is stopped."""
    managers: list[LeaseManager] = []
    link = tmp_path / "engine"
    link.symlink_to(engine.socket)
    config = config_of(tmp_path, link)

    def start() -> LeaseManager:
        seed = relay.node_key.seed
        manager = open_workloads(
            config,
            lambda: None,
            memory_used_mib=lambda uuid: 300,
            node_seed=lambda: seed,
            proc_driver=engine.proc_driver,
        )
        assert isinstance(manager, LeaseManager)
        managers.append(manager)
        manager.recover()
        return manager

    yield start
    if not link.exists():
        link.symlink_to(engine.socket)
    for each in managers:
        each.stop_all(FailureReason.OWNER_STOPPED)
    wait_until(lambda: not any(each.statuses() for each in managers), "the leases to end", 60)


@pytest.fixture
def killed_agent(engine: PodmanEngine, relay: RunningRelay, tmp_path: Path) -> KilledAgent:
    """Runs an agent on the state of `open_host` until its lease runs, then kills it with -9; returns that ack."""
    config = config_of(tmp_path, engine.socket)
    return lambda command: run_and_kill(config, relay.node_key.seed, command, proc_driver=engine.proc_driver)


@pytest.fixture
def buyer(tmp_path: Path) -> Buyer:
    return Buyer(tmp_path / "buyer")


_LISTENER = """
import socket, sys, threading
def serve(port):
    s = socket.create_server(("", port))
    while True:
        c, _ = s.accept(); c.sendall(b"REACHED\\n"); c.close()
for port in map(int, sys.argv[1:]): threading.Thread(target=serve, args=(port,)).start()
print("ready", flush=True)
"""


@dataclass(frozen=True)
class World:
    """Addresses beyond the host: a public one and those that a lease must not reach; `host` is the host itself.

    The first of `private` is a neighbour with a public address.
    """

    public: str
    private: tuple[str, ...]
    host: tuple[str, int]


@pytest.fixture
def world(engine: PodmanEngine) -> Iterator[World]:
    """A network namespace that plays the internet, the owner's LAN and the cloud's metadata service."""
    public, neighbour = "11.22.33.44", "11.22.44.2"
    private = ("192.168.77.2", "10.77.0.2", "100.64.7.2", "169.254.169.254", "168.63.129.16")
    ip = ["ip"]
    steps = [
        "netns add fallow-world",
        "link add fw-host type veth peer name fw-world netns fallow-world",
        "addr add 11.22.44.1/24 dev fw-host",
        "link set fw-host up",
        "-n fallow-world link set lo up",
        f"-n fallow-world addr add {neighbour}/24 dev fw-world",
        f"-n fallow-world addr add {public}/32 dev fw-world",
        *(f"-n fallow-world addr add {each}/32 dev fw-world" for each in private),
        "-n fallow-world link set fw-world up",
        "-n fallow-world route add default via 11.22.44.1",
        *(f"route add {each}/32 via {neighbour}" for each in (public, *private)),
    ]
    try:
        for step in steps:
            subprocess.run([*ip, *step.split()], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        subprocess.run(["ip", "netns", "del", "fallow-world"], capture_output=True, check=False)
        pytest.skip(f"network namespaces: {error.stderr.decode()}")
    command = ["ip", "netns", "exec", "fallow-world", sys.executable, "-c", _LISTENER, "80", "25", "587"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as listener, socket.create_server(("", 0)) as on_host:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"ready\n"
        yield World(public, (neighbour, *private), ("11.22.44.1", on_host.getsockname()[1]))
        listener.kill()
    subprocess.run(["ip", "netns", "del", "fallow-world"], check=True)
