from __future__ import annotations

import socket

import pytest

from nodes.agent.workloads.openssh import Ed25519Key
from nodes.relay.probe import ProbeFailed, probe_now
from tests.nodes.relay.conftest import EchoServer, RunningRelay, free_port


def test_an_ssh_server_with_the_acked_key_passes(relay: RunningRelay) -> None:
    probe_now("127.0.0.1", relay.port, relay.relay.host_key)


def test_another_host_key_fails(relay: RunningRelay) -> None:
    with pytest.raises(ProbeFailed, match="another host key"):
        probe_now("127.0.0.1", relay.port, Ed25519Key.generate().public_line)


def test_a_closed_port_fails() -> None:
    with pytest.raises(ProbeFailed, match="no SSH key exchange"):
        probe_now("127.0.0.1", free_port(), Ed25519Key.generate().public_line)


def test_something_that_is_no_ssh_server_fails(echo: EchoServer) -> None:
    with pytest.raises(ProbeFailed):
        probe_now("127.0.0.1", echo.port, Ed25519Key.generate().public_line, timeout_seconds=3)


def test_a_server_that_says_nothing_fails_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ProbeFailed, match=r"within 0\.5 s"):
        probe_now("127.0.0.1", silent.getsockname()[1], Ed25519Key.generate().public_line, timeout_seconds=0.5)


def test_a_host_key_that_is_no_key_fails(relay: RunningRelay) -> None:
    with pytest.raises(ProbeFailed, match="no key"):
        probe_now("127.0.0.1", relay.port, "ssh-ed25519 nonsense")
