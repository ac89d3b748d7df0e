"""Leases whose agent was killed, or whose engine is away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nodes.agent.protocol import FailureReason, Phase
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.late import LateWorkloads
from tests.engine.conftest import KilledAgent, OpenHost, PodmanEngine, config_of
from tests.engine.test_leases import GPU, containers, only_container, spec_of
from tests.nodes.agent.workloads.host import Acks, Buyer, run_command
from tests.nodes.relay.conftest import RunningRelay, wait_until


def test_a_killed_agents_lease_goes_on_and_is_found_again(
    engine: PodmanEngine, open_host: OpenHost, killed_agent: KilledAgent, relay: RunningRelay, buyer: Buyer
) -> None:
    (endpoint,) = relay.lease("lse_1")
    before = killed_agent(run_command(spec_of(buyer), gpus=(GPU,), relays=[endpoint]))
    container = only_container(engine)
    again = Acks(open_host()).wait(Phase.RUNNING)
    assert again.ssh_host_key == before.ssh_host_key
    assert only_container(engine) == container
    wait_until(lambda: buyer.ssh("root", str(again.ssh_host_key), endpoint.listen_port, "true").returncode == 0, "ssh")


def test_an_engine_that_is_away_for_a_while_ends_no_lease(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_host()
    patient = replace(manager._host.settings, watch_seconds=0.05, disk_check_seconds=0.0)
    object.__setattr__(manager._host, "settings", patient)
    acks = Acks(manager)
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    acks.wait(Phase.RUNNING)
    (tmp_path / "engine").unlink()
    wait_until(lambda: "is looked at again" in caplog.text, "the engine to be missed")
    (tmp_path / "engine").symlink_to(engine.socket)
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,), wanted="stop"))
    assert acks.wait(Phase.STOPPED).reason is None


def test_an_engine_that_stays_away_is_the_hosts_reason(
    engine: PodmanEngine, open_host: OpenHost, buyer: Buyer, tmp_path: Path
) -> None:
    manager = open_host()
    hasty = replace(manager._host.settings, watch_seconds=0.05, engine_seconds=0.2, retry_seconds=0.1)
    object.__setattr__(manager._host, "settings", hasty)
    acks = Acks(manager)
    manager.apply(run_command(spec_of(buyer), gpus=(GPU,)))
    acks.wait(Phase.RUNNING)
    (tmp_path / "engine").unlink()
    wait_until(lambda: Phase.STOPPING in acks.phases(), "the lease to be given up")
    (tmp_path / "engine").symlink_to(engine.socket)
    assert acks.wait(Phase.FAILED).reason is FailureReason.ENGINE_UNAVAILABLE


@pytest.mark.parametrize("gone", ["at the start", "when it is asked what runs"])
def test_an_engine_that_answers_later_is_waited_for(
    engine: PodmanEngine, killed_agent: KilledAgent, buyer: Buyer, tmp_path: Path, gone: str
) -> None:
    command = run_command(spec_of(buyer), gpus=(GPU,))
    killed_agent(command)
    container = only_container(engine)
    link = tmp_path / "later"
    config = config_of(tmp_path, link)
    if gone != "at the start":
        link.symlink_to(engine.socket)
    host = open_workloads(config, lambda: None, proc_driver=engine.proc_driver)
    link.unlink(missing_ok=True)
    if isinstance(host, LateWorkloads):
        host._retry_seconds = 0.1
    else:
        object.__setattr__(host._host, "settings", replace(host._host.settings, retry_seconds=0.1))
    host.recover()
    for wanted in ("stop", "run"):
        host.apply(replace(command, wanted=wanted))
    assert (host.ready, host.statuses(), host.drain_acks()) == (False, [], [])
    link.symlink_to(engine.socket)
    Acks(host).wait(Phase.RUNNING)
    assert (host.ready, host.runtime, only_container(engine)) == (True, "podman", container)
    host.stop_all(FailureReason.OWNER_STOPPED)
    wait_until(lambda: host.statuses() == [], "the lease to end", 30)


def test_a_wish_to_stop_is_kept_until_the_engine_answers(
    engine: PodmanEngine, killed_agent: KilledAgent, buyer: Buyer, tmp_path: Path
) -> None:
    killed_agent(run_command(spec_of(buyer), gpus=(GPU,)))
    link = tmp_path / "later"
    config = config_of(tmp_path, link)
    host = open_workloads(config, lambda: None, proc_driver=engine.proc_driver)
    assert isinstance(host, LateWorkloads)
    host._retry_seconds = 0.1
    host.recover()
    host.stop_all(FailureReason.OWNER_STOPPED)
    link.symlink_to(engine.socket)
    assert Acks(host).wait(Phase.STOPPED).reason is FailureReason.OWNER_STOPPED
    assert containers(engine) == []


def test_state_is_rebuilt_from_labels_when_the_agents_files_are_lost(
    engine: PodmanEngine, open_host: OpenHost, killed_agent: KilledAgent, buyer: Buyer, tmp_path: Path
) -> None:
    before = killed_agent(run_command(spec_of(buyer), gpus=(GPU,), epoch=8))
    (tmp_path / "state/leases/lse_1/record.json").unlink()
    after = open_host()
    again = Acks(after).wait(Phase.RUNNING)
    assert (again.epochs, again.ssh_host_key) == ({GPU: 8}, before.ssh_host_key)
    after.stop("lse_1", FailureReason.LEASE_TTL_LAPSED)
    assert Acks(after).wait(Phase.STOPPED).reason is FailureReason.LEASE_TTL_LAPSED
    assert containers(engine) == []
