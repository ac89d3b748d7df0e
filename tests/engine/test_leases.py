"""Leases on a real engine, from the command to the buyer's own SSH programs."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.agent.protocol import FailureReason, Phase, WorkloadSpec
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.engine import Engine
from nodes.agent.workloads.manager import LeaseManager
from nodes.agent.workloads.runtime import LEASE_LABEL
from nodes.agent.workloads.shares import host_size, share_of
from nodes.relay.probe import probe_now
from tests.engine.conftest import GPUS, IMAGE, VOLUME_IMAGE, OpenHost, PodmanEngine, World, config_of
from tests.nodes.agent.workloads.host import Acks, Buyer, run_command
from tests.nodes.relay.conftest import RunningRelay, free_port, wait_until

GPU = GPUS[1]


def spec_of(buyer: Buyer, **changes: object) -> WorkloadSpec:
    return WorkloadSpec(**{"image": IMAGE, "ssh_public_key": buyer.key.public_line, **changes})  # type: ignore[arg-type]


def containers(engine: PodmanEngine) -> list[dict[str, object]]:
    rows = Engine(engine.socket).get("/containers/json", all="true")
    return [row for row in rows if LEASE_LABEL in row["Labels"]]


def podman(engine: PodmanEngine, *words: str) -> str:
    return subprocess.run(["podman", *words], env=engine.env, capture_output=True, text=True, check=True).stdout


def only_container(engine: PodmanEngine) -> str:
    (row,) = containers(engine)
    return str(row["Id"])


def test_a_lease_is_used_with_stock_programs_through_the_relay_and_leaves_nothing(
    engine: PodmanEngine, open_host: OpenHost, relay: RunningRelay, buyer: Buyer, tmp_path: Path
) -> None:
    manager = open_host()
    acks = Acks(manager)
    ssh_at, web_at = relay.lease("lse_1", ports=2)
    spec = spec_of(buyer, ports=[8080], env={"GREETING": "two words"})
    manager.apply(run_command(spec, gpus=(GPU,), relays=[ssh_at, web_at]))
    running = acks.wait(Phase.RUNNING)
    assert running.gpus_seen == [GPU]
    host_key, port = str(running.ssh_host_key), ssh_at.listen_port
    probe_now("127.0.0.1", port, host_key)

    def run(*words: str) -> str:
        done = buyer.ssh("root", host_key, port, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("ls /dev/nvidia*").split() == ["/dev/nvidia1"]
    assert run('echo "$GREETING" $FROM_IMAGE') == "two words kept\n"
    assert run("-tt", "tty").strip() == "/dev/pts/0"
    options = buyer.options(host_key, port)
    sent = tmp_path / "sent.bin"
    sent.write_bytes(bytes(range(256)) * 4096)
    _stock("scp", *options, "-P", str(port), str(sent), "root@127.0.0.1:/root/by-scp")
    _stock("scp", "-O", *options, "-P", str(port), str(sent), "root@127.0.0.1:/root/by-old-scp")
    batch = tmp_path / "batch"
    batch.write_text(f"put {sent} /root/by-sftp\nget /root/by-scp {tmp_path}/back\n")
    _stock("sftp", *options, "-P", str(port), "-b", str(batch), "root@127.0.0.1")
    _stock("rsync", "-e", " ".join(["ssh", *options, "-p", str(port)]), str(sent), "root@127.0.0.1:/root/by-rsync")
    assert (tmp_path / "back").read_bytes() == sent.read_bytes()
    sums = run("md5sum /root/by-* | cut -d' ' -f1").split()
    assert len(sums) == 4
    assert len(set(sums)) == 1
    run("mkdir -p /www; echo served > /www/index.html; httpd -p 8080 -h /www")
    wait_until(lambda: _fetch(web_at.listen_port) == "served\n", f"the declared port: {_fetch(web_at.listen_port)}")
    local = free_port()
    forward = ["ssh", *options, "-N", "-L", f"{local}:127.0.0.1:8080", "-p", str(port), "root@127.0.0.1"]
    with subprocess.Popen(forward, stderr=subprocess.DEVNULL) as client:
        wait_until(lambda: _fetch(local) == "served\n", "-L")
        client.terminate()
    manager.apply(run_command(spec, gpus=(GPU,), wanted="stop"))
    assert acks.wait(Phase.STOPPED).memory_at_baseline is True
    assert acks.phases()[0] is Phase.PULLING
    assert containers(engine) == []
    assert "fallow" not in podman(engine, "network", "ls")
    assert [path.name for path in (tmp_path / "state/leases/lse_1").iterdir()] == ["record.json"]


def _stock(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _fetch(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def test_the_limits_stand_in_the_cgroup_and_in_the_process(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer, cpu_millis=500, memory_mib=96, pids=60, shm_mib=8), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    container = only_container(engine)
    pid = int(podman(engine, "inspect", "-f", "{{.State.Pid}}", container))
    assert _cgroup(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(96 * 1024**2)
    assert _cgroup(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert _cgroup(pid, "pids", "pids.max", "pids.max") == "60"
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    named = subprocess.run(["capsh", f"--decode={status['CapBnd']}"], capture_output=True, text=True, check=True).stdout
    assert "cap_net_raw" not in named
    assert "cap_sys" not in named
    assert "cap_mknod" not in named
    assert "8.0M" in podman(engine, "exec", container, "df", "-h", "/dev/shm")
    assert manager.is_lease_pid(pid)


def test_a_lease_without_limits_of_its_own_gets_its_cards_share_of_the_host(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    pid = int(podman(engine, "inspect", "-f", "{{.State.Pid}}", only_container(engine)))
    share = share_of(host_size(), 1, len(GPUS))
    assert _cgroup(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(share.memory_mib * 1024**2)
    assert _cgroup(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == str(share.cpu_millis * 100)


def _cgroup(pid: int, controller: str, version_1: str, version_2: str) -> str:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{names}{path}/{version_1}").read_text().strip()
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2]
    return Path(f"/sys/fs/cgroup{path}/{version_2}").read_text().strip()


def test_a_lease_reaches_the_internet_but_neither_private_ranges_nor_the_host_nor_mail(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer, world: World
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    container = only_container(engine)

    def reaches(address: str, port: int) -> bool:
        said = subprocess.run(
            ["podman", "exec", container, "sh", "-c", f"nc -w 2 {address} {port} </dev/null"],
            env=engine.env, capture_output=True, check=False,
        )  # fmt: skip
        return said.stdout == b"REACHED\n" or said.returncode == 0

    assert reaches(world.public, 80)
    assert not [each for each in world.private if reaches(each, 80)]
    assert not [port for port in (25, 587) if reaches(world.public, port)]
    assert not reaches(*world.host)
    gateway = podman(engine, "exec", container, "sh", "-c", "ip route | sed -n 's/default via //p'").split()[0]
    assert not reaches(gateway, world.host[1])


def test_a_firewall_that_something_took_away_is_loaded_again(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    eager = replace(manager._host.settings, watch_seconds=0.05, firewall_check_seconds=0.0)
    object.__setattr__(manager._host, "settings", eager)
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    subprocess.run(["nft", "delete", "table", "inet", "fallow"], check=True)
    listed = ["nft", "list", "table", "inet", "fallow"]
    wait_until(lambda: subprocess.run(listed, capture_output=True, check=False).returncode == 0, "the rules")


def test_two_leases_do_not_reach_each_other(engine: PodmanEngine, open_host: OpenHost, buyer: Buyer) -> None:
    manager = open_host()
    acks = Acks(manager)
    manager.apply(run_command(spec_of(buyer), lease="lse_1", gpus=(GPUS[0],)))
    manager.apply(run_command(spec_of(buyer), lease="lse_2", gpus=(GPUS[1],)))
    acks.wait(Phase.RUNNING, "lse_1")
    acks.wait(Phase.RUNNING, "lse_2")
    first, second = (str(row["Id"]) for row in containers(engine))
    address = podman(engine, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", second)
    command = ["podman", "exec", first, "sh", "-c", f"nc -w 2 {address.strip()} 22 </dev/null"]
    assert subprocess.run(command, env=engine.env, capture_output=True, check=False).returncode != 0


def test_an_image_is_pulled_from_its_registry_with_progress(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    acks = Acks(manager)
    manager.apply(run_command(spec_of(buyer, image=f"{engine.registry}/public/box:1"), gpus=(GPU,)))
    acks.wait(Phase.RUNNING)
    shown = [ack.progress_percent for ack in acks.all if ack.phase is Phase.PULLING]
    assert shown[0] == 0
    assert shown[-1] == 100


def images_here(engine: PodmanEngine) -> str:
    return podman(engine, "images", "--format", "{{.Repository}}:{{.Tag}}")


@pytest.fixture
def pulled(engine: PodmanEngine, open_host: OpenHost, buyer: Buyer) -> Iterator[LeaseManager]:
    """A host on which a lease has run from an image of the registry's."""
    manager = open_host()
    command = run_command(spec_of(buyer, image=f"{engine.registry}/public/box:1"), gpus=(GPU,))
    manager.apply(command)
    acks = Acks(manager)
    acks.wait(Phase.RUNNING)
    manager.apply(replace(command, wanted="stop"))
    acks.wait(Phase.STOPPED)
    wait_until(lambda: manager.statuses() == [], "the lease to end", 30)
    assert f"{engine.registry}/public/box:1" in images_here(engine)
    yield manager
    engine.closed.clear()
    podman(engine, "rmi", "-f", "-i", f"{engine.registry}/public/box:1")


def test_an_image_that_lies_here_is_not_anybodys(engine: PodmanEngine, pulled: LeaseManager, buyer: Buyer) -> None:
    engine.closed.add("public/box")
    spec = spec_of(buyer, image=f"{engine.registry}/public/box:1")
    pulled.apply(run_command(spec, lease="lse_2", epoch=2, gpus=(GPU,)))
    failed = Acks(pulled).wait(Phase.FAILED, "lse_2")
    assert failed.reason is FailureReason.IMAGE_DENIED, failed.detail


def test_an_image_of_the_owners_that_no_registry_has_can_not_be_rented(
    engine: PodmanEngine, tmp_path: Path, buyer: Buyer
) -> None:
    config = replace(config_of(tmp_path, engine.socket), local_images=frozenset())
    manager = open_workloads(config, lambda: None, proc_driver=engine.proc_driver)
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    assert Acks(manager).wait(Phase.FAILED).reason is FailureReason.IMAGE_NOT_FOUND
    wait_until(lambda: manager.statuses() == [], "the lease to end", 30)
    assert IMAGE in images_here(engine)


def test_an_image_that_was_pulled_with_a_buyers_password_goes_with_its_lease(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    image = f"{engine.registry}/public/box:1"
    auth = {"username": "u", "password": "p", "serveraddress": engine.registry}
    command = run_command(spec_of(buyer, image=image, registry_auth=auth), gpus=(GPU,))
    manager.apply(command)
    acks = Acks(manager)
    acks.wait(Phase.RUNNING)
    manager.apply(replace(command, wanted="stop"))
    acks.wait(Phase.STOPPED)
    assert image not in images_here(engine)


def test_an_old_image_that_a_lease_brought_is_removed_and_the_owners_stay(
    engine: PodmanEngine, pulled: LeaseManager, tmp_path: Path
) -> None:
    path = tmp_path / "state/images.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({key: facts | {"used_at": 0} for key, facts in known.items()}))
    pulled.apply(run_command(WorkloadSpec(IMAGE, ""), lease="lse_2", epoch=2, gpus=(GPU,), wanted="stop"))
    Acks(pulled).wait(Phase.STOPPED, "lse_2")
    here = images_here(engine)
    assert f"{engine.registry}/public/box:1" not in here
    assert IMAGE in here


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nobody/no thing\n:1", FailureReason.IMAGE_NOT_FOUND),
        ("nobody/nothing:1", FailureReason.IMAGE_NOT_FOUND),
        ("secret/nothing:1", FailureReason.IMAGE_DENIED),
    ],
)
def test_an_image_that_can_not_be_had_is_the_buyers_reason(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer, path: str, reason: FailureReason
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer, image=f"{engine.registry}/{path}"), gpus=(GPU,)))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is reason, failed.detail
    assert containers(engine) == []


def test_a_card_that_the_engine_does_not_know_is_not_visible(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer), gpus=("GPU-99999999-0000-0000-0000-000000000000",)))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is FailureReason.GPU_NOT_VISIBLE, failed.detail
    assert containers(engine) == []


def test_a_buyers_variables_steer_neither_nvidias_hook_nor_the_loader(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    env = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all", "LD_PRELOAD": "/x.so", "MINE": "1"}
    manager.apply(run_command(spec_of(buyer, env=env), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    seen = podman(engine, "inspect", "-f", "{{json .Config.Env}}", only_container(engine))
    assert {each for each in json.loads(seen) if each.startswith(("NVIDIA_", "LD_", "MINE"))} == {
        "NVIDIA_VISIBLE_DEVICES=void",
        "MINE=1",
    }


def test_a_card_too_many_inside_fails_the_lease(engine: PodmanEngine, open_host: OpenHost, buyer: Buyer) -> None:
    manager = open_host()
    command = run_command(spec_of(buyer), gpus=(GPU,))
    wrong = engine.proc_driver / "gpus/0000:01:00.0/information"
    right = wrong.read_text()
    wrong.write_text(right.replace(GPU, GPUS[0]))  # the host now says that /dev/nvidia1 is the other card
    try:
        manager.apply(command)
        assert Acks(manager).wait(Phase.FAILED).reason is FailureReason.GPU_NOT_VISIBLE
    finally:
        wrong.write_text(right)


def test_a_buyers_command_that_ends_is_workload_exited(engine: PodmanEngine, open_host: OpenHost, buyer: Buyer) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer, command=["sh", "-c", "sleep 3; echo done; exit 7"]), gpus=(GPU,)))
    acks = Acks(manager)
    failed = acks.wait(Phase.FAILED)
    assert failed.reason is FailureReason.WORKLOAD_EXITED
    assert "exit code 7" in (failed.detail or "")
    assert "done" in manager.drain_logs()[-1].text.split()
    assert containers(engine) == []


def test_a_lease_that_writes_more_than_its_disk_is_ended(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    object.__setattr__(manager._host, "settings", replace(manager._host.settings, disk_check_seconds=0.5))
    command = ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=8; sleep 100"]
    manager.apply(run_command(spec_of(buyer, disk_gib=0, command=command), gpus=(GPU,)))
    failed = Acks(manager)
    wait_until(lambda: Phase.FAILED in failed.phases(), "the end")
    assert failed.all[-1].reason is FailureReason.WORKLOAD_EXITED
    assert "MiB written, 0 MiB is the limit" in (failed.all[-1].detail or "")


def test_a_volume_of_the_image_does_not_escape_the_disk_limit(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    made = podman(engine, "create", IMAGE, "true").strip()
    podman(engine, "commit", "-q", "--change", "VOLUME /data", made, VOLUME_IMAGE)
    podman(engine, "rm", made)
    manager = open_host()
    manager.apply(run_command(spec_of(buyer, image=VOLUME_IMAGE), gpus=(GPU,)))
    Acks(manager).wait(Phase.RUNNING)
    assert podman(engine, "volume", "ls", "-q") == ""


def test_more_disk_than_is_free_is_refused_with_the_reason(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer
) -> None:
    manager = open_host()
    manager.apply(run_command(spec_of(buyer, disk_gib=10**6), gpus=(GPU,)))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is FailureReason.ENGINE_UNAVAILABLE
    assert "1000000 GiB of disk are wanted" in (failed.detail or "")


def test_a_stop_lets_the_buyers_process_finish_within_the_grace(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer, relay: RunningRelay
) -> None:
    manager = open_host()
    acks = Acks(manager)
    (endpoint,) = relay.lease("lse_1")
    script = "trap 'echo saved; exit 0' TERM; echo listening; while :; do sleep 1; done"
    spec = spec_of(buyer, command=["sh", "-c", script])
    manager.apply(run_command(spec, gpus=(GPU,), relays=[endpoint]))
    acks.wait(Phase.RUNNING)
    container = only_container(engine)
    wait_until(
        lambda: "listening" in podman(engine, "logs", container), "its trap: until then a signal ends it at once"
    )
    manager.apply(run_command(spec, gpus=(GPU,), wanted="stop"))
    acks.wait(Phase.STOPPED)
    assert "saved" in manager.drain_logs()[-1].text.split()
