"""The same lease on dockerd, whose cards come in through a device request and the (here: forged) nvidia hook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.agent.protocol import FailureReason, Phase, WorkloadSpec
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.engine import Engine
from tests.engine.conftest import GPUS, IMAGE, VOLUME_IMAGE, PodmanEngine, answers, config_of
from tests.nodes.agent.workloads.host import Acks, Buyer, run_command
from tests.nodes.relay.conftest import RunningRelay, wait_until

_HOOK = """#!{python}
import json, subprocess, sys
if sys.argv[-1] == "prestart":
    state = json.load(sys.stdin)
    config = json.load(open(state["bundle"] + "/config.json"))
    env = dict(each.split("=", 1) for each in config["process"]["env"])
    for uuid in env["NVIDIA_VISIBLE_DEVICES"].split(","):
        path = config["root"]["path"] + "/dev/nvidia" + str(int(uuid[-1]))
        subprocess.run(["nsenter", "-t", str(state["pid"]), "-m", "mknod", path, "c", "1", "3"], check=True)
"""


@pytest.fixture(scope="module")
def docker_socket(engine: PodmanEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """dockerd in a folder of its own, with the busybox image of the podman tests."""
    if shutil.which("dockerd") is None:
        pytest.skip("dockerd: not installed (apt: docker.io)")
    folder = tmp_path_factory.mktemp("docker")
    hook = folder / "bin/nvidia-container-runtime-hook"
    hook.parent.mkdir()
    hook.write_text(_HOOK.format(python=sys.executable))
    hook.chmod(0o755)
    command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    command += ["--pidfile", f"{folder}/pid", "-H", f"unix://{folder}/docker.sock", "--bridge", "none"]
    command += [
        "--oom-score-adjust",
        "0",
        "--default-ulimit",
        "nofile=4096:4096",
        "--default-ulimit",
        "nproc=4096:4096",
    ]
    env = {**os.environ, "PATH": f"{hook.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        if not answers(folder / "docker.sock"):
            pytest.skip(f"dockerd: does not start here: {(folder / 'log').read_text()[-300:]}")
        _import_image(folder, engine)
        yield folder / "docker.sock"
    finally:
        service.terminate()
        service.wait(30)
        # dockerd leaves the host's forwarding closed, which would outlive the test
        subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], capture_output=True, check=False)


def _import_image(folder: Path, engine: PodmanEngine) -> None:
    archive = folder / "image.tar"
    subprocess.run(["podman", "save", "-q", "-o", archive, IMAGE], env=engine.env, check=True, capture_output=True)
    command = ["docker", "-H", f"unix://{folder}/docker.sock", "load", "-q", "-i", archive]
    subprocess.run(command, check=True, capture_output=True)


def test_a_lease_on_dockerd_has_its_cards_its_limits_and_its_buyer(
    docker_socket: Path, engine: PodmanEngine, relay: RunningRelay, tmp_path: Path
) -> None:
    config = config_of(tmp_path, docker_socket)
    seed = relay.node_key.seed
    manager = open_workloads(config, lambda: None, node_seed=lambda: seed, proc_driver=engine.proc_driver)
    assert manager.runtime == "docker"
    acks, buyer = Acks(manager), Buyer(tmp_path / "buyer")
    (endpoint,) = relay.lease("lse_1")
    spec = WorkloadSpec(IMAGE, buyer.key.public_line, memory_mib=96, cpu_millis=500, pids=60)
    try:
        manager.apply(run_command(spec, gpus=(GPUS[1],), relays=[endpoint]))
        running = acks.wait(Phase.RUNNING)
        assert running.gpus_seen == [GPUS[1]]
        done = buyer.ssh("root", str(running.ssh_host_key), endpoint.listen_port, "ls /dev/nvidia*; echo $FROM_IMAGE")
        assert done.stdout.split() == ["/dev/nvidia1", "kept"], done.stderr
        (row,) = Engine(docker_socket).get("/containers/json")
        host = Engine(docker_socket).get(f"/containers/{row['Id']}/json")["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (96 * 1024**2, 96 * 1024**2, 60)
        assert host["CapDrop"] == ["ALL"]
    finally:
        manager.stop_all(FailureReason.OWNER_STOPPED)
        wait_until(lambda: not manager.statuses(), "the lease to end", 60)
    assert Engine(docker_socket).get("/containers/json", all="true") == []
    assert not [each for each in Engine(docker_socket).get("/networks") if "fallow" in each["Name"]]


def test_what_is_written_into_a_volume_of_the_image_counts_on_dockerd(
    docker_socket: Path, engine: PodmanEngine, tmp_path: Path
) -> None:
    docker = ["docker", "-H", f"unix://{docker_socket}"]
    made = subprocess.run([*docker, "create", IMAGE, "true"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([*docker, "commit", "--change", "VOLUME /data", made, VOLUME_IMAGE], check=True, capture_output=True)
    subprocess.run([*docker, "rm", made], check=True, capture_output=True)
    config = config_of(tmp_path, docker_socket)
    manager = open_workloads(config, lambda: None, proc_driver=engine.proc_driver)
    object.__setattr__(manager._host, "settings", replace(manager._host.settings, disk_check_seconds=0.5))
    script = "dd if=/dev/zero of=/data/big bs=1M count=8; sleep 100"
    spec = WorkloadSpec(
        VOLUME_IMAGE, Buyer(tmp_path / "buyer").key.public_line, disk_gib=0, command=["sh", "-c", script]
    )
    manager.apply(run_command(spec, gpus=(GPUS[1],)))
    acks = Acks(manager)
    wait_until(lambda: Phase.FAILED in acks.phases(), "the end", 60)
    assert acks.all[-1].reason is FailureReason.WORKLOAD_EXITED
    assert "MiB written" in (acks.all[-1].detail or "")
    wait_until(lambda: not manager.statuses(), "the lease to end", 60)


def test_a_missing_image_on_dockerd_is_the_buyers_reason(
    docker_socket: Path, engine: PodmanEngine, tmp_path: Path
) -> None:
    config = config_of(tmp_path, docker_socket)
    manager = open_workloads(config, lambda: None, proc_driver=engine.proc_driver)
    buyer = Buyer(tmp_path / "buyer")
    image = f"{engine.registry}/nobody/nothing:1"
    manager.apply(run_command(WorkloadSpec(image, buyer.key.public_line), gpus=(GPUS[1],)))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is FailureReason.IMAGE_NOT_FOUND, failed.detail
    wait_until(lambda: not manager.statuses(), "the lease to end", 60)
