"""The relay opens exactly the ports of leases that should run."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from nacl.signing import SigningKey

from nodes.agent.protocol import WorkloadSpec
from nodes.agent.workloads.openssh import Ed25519Key
from nodes.models import Assignment, RelayPort
from nodes.relay.leases import LeaseTunnels, ssh_line
from nodes.relay.tunnels import Tunnel
from nodes.services.assignments import assign, revoke
from tests.factories import NOON, make_firm
from tests.hosts import Host

HOLDER = "lse_relay"


@pytest.fixture
def assignment(transactional_db: None) -> Assignment:
    RelayPort.objects.bulk_create([RelayPort(port=port) for port in (20000, 20001)], ignore_conflicts=True)
    host = Host(make_firm(), NOON)
    spec = WorkloadSpec(image="fallow/demo", ssh_public_key="ssh-ed25519 AAAA", ports=[8888])
    return assign(node=host.node, holder=HOLDER, cards=host.cards, spec=spec, now=NOON)


def test_a_lease_that_should_run_has_its_nodes_key_and_its_ports(assignment: Assignment) -> None:
    key = ssh_line(bytes(assignment.node.public_key))
    assert len(assignment.relay_ports) == 2
    assert _find(HOLDER) == Tunnel(public_key=key, ports=frozenset(assignment.relay_ports))


def test_a_lease_that_was_revoked_or_never_was_has_no_tunnel(assignment: Assignment) -> None:
    revoke(holder=HOLDER, now=NOON)
    assert _find(HOLDER) is None
    assert _find("lse_other") is None


def test_a_nodes_key_reads_the_same_in_ssh_as_on_the_node() -> None:
    key = Ed25519Key.generate()
    assert ssh_line(bytes(SigningKey(key.seed).verify_key)) == key.public_line


def _find(user: str) -> Tunnel | None:
    return async_to_sync(LeaseTunnels().find)(user)
