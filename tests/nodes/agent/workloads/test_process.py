from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.agent.config import Config
from nodes.agent.protocol import FailureReason, Phase, WorkloadSpec
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.manager import LeaseManager
from nodes.agent.workloads.openssh import Ed25519Key
from nodes.agent.workloads.process import find_sshd
from nodes.agent.workloads.store import LeaseStore, Record, boot_id
from nodes.relay.probe import probe_now
from tests.nodes.agent.conftest import SmallDisk
from tests.nodes.agent.workloads.host import GPU, Acks, Buyer, run_and_kill, run_command
from tests.nodes.relay.conftest import RunningRelay, wait_until

pytestmark = pytest.mark.skipif(find_sshd() is None, reason="needs OpenSSH's sshd (package openssh-server)")

Open = Callable[[], LeaseManager]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("FALLOW_ALLOW_PROCESS_RUNTIME", "1")
    script = tmp_path / "simulator.json"
    script.write_text("{}")
    return Config(state_dir=tmp_path / "state", config_dir=tmp_path / "etc", runtime="process", simulator=script)


@pytest.fixture
def open_host(config: Config, relay: RunningRelay) -> Iterator[Open]:
    """Opens the host's leases as an agent does at its start; whatever is left at the end is stopped."""
    managers: list[LeaseManager] = []

    def start() -> LeaseManager:
        seed = relay.node_key.seed
        manager = open_workloads(config, lambda: None, memory_used_mib=lambda uuid: 300, node_seed=lambda: seed)
        managers.append(manager)
        manager.recover()
        return manager

    yield start
    for each in managers:
        each.stop_all(FailureReason.OWNER_STOPPED)
    wait_until(lambda: not any(each.statuses() for each in managers), "the leases to end", 30)


@pytest.fixture
def buyer(tmp_path: Path) -> Buyer:
    return Buyer(tmp_path / "buyer")


def test_a_buyer_logs_in_through_the_relay_as_an_unprivileged_user(
    open_host: Open, relay: RunningRelay, buyer: Buyer
) -> None:
    manager = open_host()
    acks = Acks(manager)
    (endpoint,) = relay.lease("lse_1")
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), relays=[endpoint]))
    running = acks.wait(Phase.RUNNING)
    assert running.gpus_seen == [GPU]
    assert running.ssh_host_key and running.ssh_user
    probe_now("127.0.0.1", endpoint.listen_port, running.ssh_host_key)
    done = buyer.ssh(running.ssh_user, running.ssh_host_key, endpoint.listen_port, "id -u; echo $FALLOW_GPUS")
    assert done.stdout.split() == [str(65534 if os.geteuid() == 0 else os.geteuid()), GPU], done.stderr
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), wanted="stop"))
    assert acks.wait(Phase.STOPPED).memory_at_baseline is True
    assert manager.statuses() == []
    assert acks.phases()[-2:] == [Phase.STOPPING, Phase.STOPPED]


def test_nothing_starts_without_the_owners_word(open_host: Open, buyer: Buyer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FALLOW_ALLOW_PROCESS_RUNTIME")
    manager = open_host()
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line)))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is FailureReason.ENGINE_UNAVAILABLE
    assert "FALLOW_ALLOW_PROCESS_RUNTIME" in (failed.detail or "")


def test_a_killed_agents_lease_is_found_again_and_keeps_its_host_key(
    open_host: Open, config: Config, relay: RunningRelay, buyer: Buyer
) -> None:
    (endpoint,) = relay.lease("lse_1")
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), relays=[endpoint])
    before = run_and_kill(config, relay.node_key.seed, command)
    after = open_host()  # it takes over what runs, tunnel included
    again = Acks(after).wait(Phase.RUNNING)
    assert again.ssh_host_key == before.ssh_host_key
    assert [status.phase for status in after.statuses()] == [Phase.RUNNING]


def test_a_restart_of_the_host_is_not_the_buyers_end(open_host: Open, config: Config, buyer: Buyer) -> None:
    run_and_kill(config, Ed25519Key.generate().seed, run_command(WorkloadSpec("fallow/demo", buyer.key.public_line)))
    (leader,) = _pgrep("-f", f"{config.state_dir}/processes/lse_1")[:1]
    os.killpg(leader, signal.SIGKILL)
    wait_until(lambda: _pgrep("-f", f"{config.state_dir}/processes/lse_1") == [], "the sshd to end")
    (record,) = LeaseStore(config.state_dir / "leases").load()
    LeaseStore(config.state_dir / "leases").save(dataclasses.replace(record, boot="an earlier one"))
    assert Acks(open_host()).wait(Phase.STOPPED).reason is FailureReason.INTERNAL


def test_an_agent_killed_mid_start_starts_the_lease_again(
    open_host: Open, config: Config, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line))
    LeaseStore(config.state_dir / "leases").save(Record(command, Phase.STARTING, boot_id(), "lse_1"))
    Acks(open_host()).wait(Phase.RUNNING)


def test_a_lease_that_ended_is_not_started_again_by_a_repeated_command(open_host: Open, buyer: Buyer) -> None:
    manager = open_host()
    acks = Acks(manager)
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line))
    manager.apply(command)
    acks.wait(Phase.RUNNING)
    manager.stop("lse_1", FailureReason.OWNER_STOPPED)
    assert acks.wait(Phase.STOPPED).reason is FailureReason.OWNER_STOPPED
    wait_until(lambda: manager.statuses() == [], "the thread to end")
    for host in (manager, open_host()):
        host.apply(command)
        assert host.statuses() == []
        assert [ack.phase for ack in host.drain_acks()] == [Phase.STOPPED]


def test_a_stop_of_a_lease_that_never_was_here_is_acked_once(open_host: Open, buyer: Buyer) -> None:
    manager = open_host()
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), wanted="stop")
    acks = Acks(manager)
    manager.apply(command)
    assert acks.wait(Phase.STOPPED).memory_at_baseline is True
    wait_until(lambda: manager.statuses() == [], "the thread to end")
    manager.apply(command)
    manager.apply(command)
    assert acks.phases() == [Phase.STOPPING, Phase.STOPPED, Phase.STOPPED]


def test_a_stop_of_a_lease_that_ended_by_itself_repeats_its_own_end(open_host: Open, buyer: Buyer) -> None:
    manager = open_host()
    readings = iter([300])
    settings = dataclasses.replace(
        manager._host.settings, baseline_seconds=0.2, memory_used_mib=lambda uuid: next(readings, 900)
    )
    object.__setattr__(manager._host, "settings", settings)
    acks = Acks(manager)
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line))
    manager.apply(command)
    acks.wait(Phase.RUNNING)
    manager.stop("lse_1", FailureReason.OWNER_STOPPED)
    ended = acks.wait(Phase.STOPPED)
    assert (ended.reason, ended.memory_at_baseline) == (FailureReason.OWNER_STOPPED, False)
    wait_until(lambda: manager.statuses() == [], "the thread to end")
    manager.apply(dataclasses.replace(command, wanted="stop", epochs={GPU: 2}, spec=None))
    assert manager.drain_acks() == [ended]


def test_a_stop_of_a_lease_that_the_agent_forgot_ends_what_the_runtime_still_has(
    open_host: Open, config: Config, buyer: Buyer
) -> None:
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line))
    forgetful = open_host()
    run_and_kill(config, Ed25519Key.generate().seed, command)
    assert forgetful.statuses() == []
    forgetful.apply(dataclasses.replace(command, wanted="stop"))
    Acks(forgetful).wait(Phase.STOPPED)
    assert _pgrep("-f", f"{config.state_dir}/processes/lse_1") == []


def test_on_a_full_disk_a_lease_still_ends_before_it_is_called_stopped(
    open_host: Open, config: Config, buyer: Buyer, small_disk: SmallDisk
) -> None:
    config.state_dir.symlink_to(small_disk.path)
    manager = open_host()
    acks = Acks(manager)
    command = run_command(WorkloadSpec("fallow/demo", buyer.key.public_line))
    manager.apply(command)
    acks.wait(Phase.RUNNING)
    (small_disk.path / "leases/lse_1/record.json").unlink()  # not even an old one to write over
    small_disk.fill()
    manager.apply(dataclasses.replace(command, wanted="stop", epochs={GPU: 2}))
    acks.wait(Phase.STOPPED)
    assert _pgrep("-f", f"{config.state_dir}/processes/lse_1") == []
    assert not (small_disk.path / "processes/lse_1").exists()


def test_a_newer_epoch_ends_the_older_lease_first_and_an_older_one_is_refused(open_host: Open, buyer: Buyer) -> None:
    manager = open_host()
    acks = Acks(manager)
    spec = WorkloadSpec("fallow/demo", buyer.key.public_line)
    manager.apply(run_command(spec, lease="lse_1", epoch=4))
    acks.wait(Phase.RUNNING, "lse_1")
    manager.apply(run_command(spec, lease="lse_2", epoch=5))
    acks.wait(Phase.RUNNING, "lse_2")
    assert acks.phases("lse_1")[-1] is Phase.STOPPED
    manager.apply(run_command(spec, lease="lse_3", epoch=3))
    assert acks.wait(Phase.FAILED, "lse_3").reason is FailureReason.STALE_EPOCH
    assert [status.id for status in manager.statuses()] == ["lse_2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: otherwise the sshd is the agent's own user's")
def test_a_buyer_can_not_write_what_the_agent_believes(open_host: Open, relay: RunningRelay, buyer: Buyer) -> None:
    manager = open_host()
    (endpoint,) = relay.lease("lse_1")
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), relays=[endpoint]))
    running = Acks(manager).wait(Phase.RUNNING)
    tries = (
        "cat /mnt/process.json; mv /mnt/process.json /mnt/x; echo 1 >> /mnt/sshd_config; touch /mnt/home/ok; ls /mnt"
    )
    done = buyer.ssh(str(running.ssh_user), str(running.ssh_host_key), endpoint.listen_port, tries)
    assert done.stderr.lower().count("permission denied") == 3
    assert "process.json" in done.stdout.split()


def test_its_processes_are_the_leases_and_this_test_is_not(open_host: Open, buyer: Buyer) -> None:
    manager = open_host()
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line)))
    Acks(manager).wait(Phase.RUNNING)
    (leader,) = _pgrep("-f", "processes/lse_1")[:1]
    (sshd,) = _pgrep("-P", str(leader))[:1] or [leader]  # as root it is a child of its namespaces' first process
    assert manager.is_lease_pid(leader)
    assert manager.is_lease_pid(sshd)
    assert not manager.is_lease_pid(os.getpid())


def _pgrep(*words: str) -> list[int]:
    said = subprocess.run(["pgrep", *words], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in said.split()]


def test_an_unreachable_relay_fails_the_lease_on_the_hosts_account(
    open_host: Open, relay: RunningRelay, buyer: Buyer
) -> None:
    manager = open_host()
    object.__setattr__(manager._host, "settings", dataclasses.replace(manager._host.settings, tunnel_seconds=1.0))
    (endpoint,) = relay.lease("lse_1")
    relay.leases.by_user.clear()
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line), relays=[endpoint]))
    failed = Acks(manager).wait(Phase.FAILED)
    assert failed.reason is FailureReason.RELAY_UNAVAILABLE
    assert "Permission denied" in (failed.detail or "")


def test_a_line_break_in_a_variable_adds_no_directive_to_the_sshd(
    open_host: Open, buyer: Buyer, config: Config
) -> None:
    manager = open_host()
    env = {"A": "1\nPermitTunnel yes", "B\nX11Forwarding yes": "2", "C": 'x" D="y', "E": "back\\", "F": "fine"}
    manager.apply(run_command(WorkloadSpec("fallow/demo", buyer.key.public_line, env=env)))
    Acks(manager).wait(Phase.RUNNING)
    lines = (config.state_dir / "processes/lse_1/sshd_config").read_text().splitlines()
    assert lines[-1] == f'SetEnv "F=fine" "FALLOW_GPUS={GPU}"'
    assert len([line for line in lines if line.startswith(("PermitTunnel", "X11Forwarding"))]) == 2


def test_a_line_break_in_the_buyers_key_adds_no_second_key(open_host: Open, buyer: Buyer, config: Config) -> None:
    manager = open_host()
    sneaky = f"{buyer.key.public_line} me\nssh-ed25519 AAAAother"
    manager.apply(run_command(WorkloadSpec("fallow/demo", sneaky)))
    Acks(manager).wait(Phase.RUNNING)
    assert (config.state_dir / "processes/lse_1/authorized_keys").read_text() == buyer.key.public_line + "\n"
