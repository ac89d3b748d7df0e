"""The lease that proves a node, run by the agent's own code on its process runtime, through a relay."""

from __future__ import annotations

import dataclasses
import json

import pytest

from marketplace.leases.models import ProvingLease
from marketplace.leases.services.proving import activate_proving_leases, reachable_proving_leases
from nodes.agent.config import Config
from nodes.agent.protocol import FailureReason, Phase
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.process import find_sshd
from nodes.models import Assignment
from nodes.relay.leases import ssh_line
from nodes.relay.tunnels import Limits, Tunnel
from nodes.relay_keys import relay_host_key
from tests.market import Market
from tests.newcomers import UNTIL_IDLE, Newcomer
from tests.nodes.relay.conftest import RunningRelay, wait_until

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(find_sshd() is None, reason="needs OpenSSH's sshd (package openssh-server)"),
]


@pytest.fixture
def relay(tmp_path, settings):
    running = RunningRelay(tmp_path, Limits())
    settings.RELAY_HOST = settings.RELAY_PROBE_HOST = "127.0.0.1"
    settings.RELAY_PORT, settings.RELAY_HOST_KEY_FILE = running.port, str(tmp_path / "relay-host-key")
    relay_host_key.cache_clear()
    yield running
    relay_host_key.cache_clear()
    running.close()


@pytest.fixture
def open_host(tmp_path, monkeypatch):
    """The part of an agent that runs leases, with the node's key."""
    monkeypatch.setenv("FALLOW_ALLOW_PROCESS_RUNTIME", "1")
    script = tmp_path / "simulator.json"
    script.write_text(json.dumps({}))
    config = Config(state_dir=tmp_path / "state", config_dir=tmp_path / "etc", runtime="process", simulator=script)
    managers = []

    def start(host):
        seed = bytes(host.key)
        manager = open_workloads(config, lambda: None, memory_used_mib=lambda uuid: 300, node_seed=lambda: seed)
        managers.append(manager)
        manager.recover()
        return manager

    yield start
    for each in managers:
        each.stop_all(FailureReason.OWNER_STOPPED)
        wait_until(lambda each=each: not each.statuses(), "the lease to end", 30)


def carry_acks(host, manager, phase):
    """Everything that the agent says goes to the server, until it has said this."""
    said = []

    def arrived():
        for ack in manager.drain_acks():
            host.seq += 1
            host.send_acks(dataclasses.replace(ack, run=1, seq=host.seq))
            said.append(ack)
        return phase in {ack.phase for ack in said}

    wait_until(arrived, f"{phase}: {said}", 60)


def test_the_real_delivery_proves_a_host(frozen, relay, open_host):
    market = Market(frozen)
    host = Newcomer(market)
    host.be_quiet(UNTIL_IDLE)
    market.list_cards(host)
    market.tick()
    command = host.command
    ports = frozenset(Assignment.objects.get(holder=command.lease).relay_ports)
    relay.leases.by_user[command.lease] = Tunnel(ssh_line(bytes(host.key.verify_key)), ports)
    manager = open_host(host)
    manager.apply(command)
    carry_acks(host, manager, Phase.RUNNING)
    reachable = reachable_proving_leases(now=frozen.now())  # the platform's own probe, through the relay
    assert reachable == [command.lease]
    assert activate_proving_leases(lease_ids=reachable, now=frozen.now()) == 1
    host.be_quiet(60)
    assert host.command.wanted == "stop"
    manager.apply(host.command)
    carry_acks(host, manager, Phase.STOPPED)
    market.tick()
    assert ProvingLease.objects.get().state == "ended"
    assert host.shown()["proven_at"]
