from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from nodes.agent.protocol import RelayEndpoint
from nodes.agent.workloads.openssh import Ed25519Key, write_secret
from nodes.agent.workloads.tunnel import Forward, Tunnel, ssh_command
from nodes.relay.tunnels import Limits
from tests.nodes.relay.conftest import EchoServer, RunningRelay, connect, free_port, wait_until

Dial = Callable[..., Tunnel]


@pytest.fixture
def dial(tmp_path: Path, relay: RunningRelay, echo: EchoServer) -> Iterator[Dial]:
    """Starts the node's tunnel to the echo server and stops it at the end."""
    tunnels: list[Tunnel] = []

    def start(endpoints: list[RelayEndpoint], key: Ed25519Key = relay.node_key) -> Tunnel:
        folder = tmp_path / f"tunnel-{len(tunnels)}"
        tunnel = Tunnel(folder, key, [Forward(each, "127.0.0.1", echo.port) for each in endpoints])
        tunnels.append(tunnel)
        tunnel.start()
        return tunnel

    yield start
    for each in tunnels:
        each.stop()


def say(port: int, words: bytes, timeout: float = 10) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as buyer:
        buyer.sendall(words)
        buyer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: buyer.recv(65536), b""))


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was queued when the listener closed
        return True
    return False


def test_bytes_of_a_buyer_reach_the_host_and_come_back_on_every_port_of_the_lease(
    relay: RunningRelay, dial: Dial
) -> None:
    endpoints = relay.lease("lse_1", ports=2)
    assert dial(endpoints).wait_up(15)
    big = bytes(range(256)) * 8192
    assert say(endpoints[0].listen_port, big) == big
    assert say(endpoints[1].listen_port, b"second") == b"second"


def test_a_node_with_another_key_gets_no_tunnel(relay: RunningRelay, dial: Dial) -> None:
    endpoints = relay.lease("lse_1")
    tunnel = dial(endpoints, Ed25519Key.generate())
    wait_until(lambda: "Permission denied" in tunnel.last_line, "the refusal")
    assert refused(endpoints[0].listen_port)


def test_an_unknown_lease_gets_no_tunnel(relay: RunningRelay, dial: Dial) -> None:
    tunnel = dial([relay.endpoint("lse_gone", free_port())])
    wait_until(lambda: "Permission denied" in tunnel.last_line, "the refusal")


def test_a_port_of_another_lease_is_refused(relay: RunningRelay, dial: Dial) -> None:
    relay.lease("lse_1")
    (foreign,) = relay.lease("lse_2")
    tunnel = dial([relay.endpoint("lse_1", foreign.listen_port)])
    wait_until(lambda: "forwarding failed" in tunnel.last_line, "the refusal")
    assert refused(foreign.listen_port)


def test_a_relay_with_another_host_key_is_not_trusted(relay: RunningRelay, dial: Dial) -> None:
    (endpoint,) = relay.lease("lse_1")
    forged = RelayEndpoint("127.0.0.1", relay.port, Ed25519Key.generate().public_line, endpoint.listen_port, "lse_1")
    tunnel = dial([forged])
    wait_until(lambda: "verification failed" in tunnel.last_line, "the refusal")


@pytest.mark.parametrize("what", [["echo", "hello"], ["-s", "sftp"]])
def test_a_node_gets_no_shell_no_command_and_no_subsystem(
    relay: RunningRelay, tmp_path: Path, echo: EchoServer, what: list[str]
) -> None:
    done = subprocess.run(
        [*login(relay, tmp_path, echo), *what], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 255 or "failed" in done.stderr
    assert "hello" not in done.stdout


def test_a_node_can_not_forward_into_the_relays_network(relay: RunningRelay, tmp_path: Path, echo: EchoServer) -> None:
    command = login(relay, tmp_path, echo)
    command.insert(1, "-W")
    command.insert(2, f"127.0.0.1:{echo.port}")
    done = subprocess.run(command, input=b"hello", capture_output=True, timeout=20, check=False)
    assert b"open failed" in done.stderr
    assert done.stdout == b""


def login(relay: RunningRelay, tmp_path: Path, echo: EchoServer) -> list[str]:
    """The node's own command line without its forwards and without -N."""
    endpoints = relay.lease("lse_1")
    write_secret(tmp_path / "relay-key", relay.node_key.openssh_private())
    (tmp_path / "known-hosts").write_text(f"[127.0.0.1]:{relay.port} {relay.relay.host_key}\n")
    command = ssh_command(tmp_path, [Forward(endpoints[0], "127.0.0.1", echo.port)])
    command.remove("-N")
    where = command.index("-R")
    del command[where : where + 2]
    return command


def test_the_newest_tunnel_of_a_lease_takes_its_port_over(relay: RunningRelay, dial: Dial) -> None:
    endpoints = relay.lease("lse_1")
    assert dial(endpoints).wait_up(15)
    assert dial(endpoints).wait_up(15)
    wait_until(lambda: not refused(endpoints[0].listen_port), "a listener")


def test_the_tunnel_comes_back_after_the_relay_restarted(relay: RunningRelay, dial: Dial) -> None:
    (endpoint,) = relay.lease("lse_1")
    tunnel = dial([endpoint])
    assert tunnel.wait_up(15)
    relay.restart()
    wait_until(lambda: not refused(endpoint.listen_port), "the new tunnel")
    assert say(endpoint.listen_port, b"again") == b"again"


def test_a_lease_that_lost_its_right_loses_its_tunnel(relay: RunningRelay, dial: Dial) -> None:
    (endpoint,) = relay.lease("lse_1")
    assert dial([endpoint]).wait_up(15)
    del relay.leases.by_user["lse_1"]
    relay.call(relay.relay.recheck())
    wait_until(lambda: refused(endpoint.listen_port), "the port to close")


def test_stopping_the_tunnel_closes_the_port_and_removes_the_key(
    relay: RunningRelay, dial: Dial, tmp_path: Path
) -> None:
    (endpoint,) = relay.lease("lse_1")
    tunnel = dial([endpoint])
    assert tunnel.wait_up(15)
    assert (tmp_path / "tunnel-0/relay-key").stat().st_mode & 0o777 == 0o600
    tunnel.stop()
    wait_until(lambda: refused(endpoint.listen_port), "the port to close")
    assert list((tmp_path / "tunnel-0").iterdir()) == []


class TestWithTightLimits:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(connections_per_lease=2)

    def test_a_connection_above_the_limit_is_closed(self, relay: RunningRelay, dial: Dial) -> None:
        (endpoint,) = relay.lease("lse_1")
        assert dial([endpoint]).wait_up(15)
        address = ("127.0.0.1", endpoint.listen_port)
        with socket.create_connection(address, 10) as first, socket.create_connection(address, 10) as second:
            for each in (first, second):
                each.sendall(b"x")
                assert each.recv(1) == b"x"
            with socket.create_connection(address, 10) as third:
                assert is_closed(third)


class TestWithLittlePatience:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(idle_seconds=1.0)

    def test_a_connection_that_is_idle_too_long_is_closed(self, relay: RunningRelay, dial: Dial) -> None:
        (endpoint,) = relay.lease("lse_1")
        assert dial([endpoint]).wait_up(15)
        with socket.create_connection(("127.0.0.1", endpoint.listen_port), 10) as buyer:
            buyer.sendall(b"x")
            assert buyer.recv(1) == b"x"
            assert buyer.recv(1) == b""


def is_closed(buyer: socket.socket) -> bool:
    """Whether the other side has hung up, however roughly."""
    try:
        return buyer.recv(1) == b""
    except ConnectionError:
        return True


def is_served(buyer: socket.socket) -> bool:
    """Whether the echo on the host answers."""
    try:
        buyer.sendall(b"x")
        return buyer.recv(1) == b"x"
    except ConnectionError:
        return False


class TestManyFromOneAddress:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(
            connections_per_lease=4,
            connections_per_address=3,
            connections_per_lease_and_address=2,
            logins_pending=8,
            logins_pending_per_address=3,
        )

    def test_mute_connections_of_one_host_do_not_turn_nodes_away(self, relay: RunningRelay, dial: Dial) -> None:
        (endpoint,) = relay.lease("lse_1")
        mute = [connect(relay.port, "127.0.0.2") for _ in range(20)]
        try:
            assert dial([endpoint]).wait_up(15)
        finally:
            for each in mute:
                each.close()

    def test_an_address_has_its_share_of_a_lease_and_others_have_theirs(self, relay: RunningRelay, dial: Dial) -> None:
        (endpoint,) = relay.lease("lse_1")
        assert dial([endpoint]).wait_up(15)
        port = endpoint.listen_port
        with connect(port) as first, connect(port) as second:
            assert is_served(first)
            assert is_served(second)
            with connect(port) as third, connect(port, "127.0.0.2") as elsewhere:
                assert not is_served(third)
                assert is_served(elsewhere)
            first.close()
            wait_until(lambda: served_anew(port), "the place of the first")

    def test_an_address_has_its_share_of_the_relay(self, relay: RunningRelay, dial: Dial) -> None:
        (one,), (other,) = relay.lease("lse_1"), relay.lease("lse_2")
        assert dial([one]).wait_up(15)
        assert dial([other]).wait_up(15)
        with connect(one.listen_port) as first, connect(one.listen_port) as second, connect(other.listen_port) as third:
            assert all(map(is_served, (first, second, third)))
            with connect(other.listen_port) as fourth, connect(other.listen_port, "127.0.0.2") as elsewhere:
                assert not is_served(fourth)
                assert is_served(elsewhere)


def served_anew(port: int) -> bool:
    with connect(port) as buyer:
        return is_served(buyer)


class TestWhoSaysNothing:
    @pytest.fixture
    def limits(self) -> Limits:
        return Limits(mute_seconds=1.0, mute_per_lease_and_address=1)

    def test_a_buyer_who_says_nothing_is_closed_and_who_spoke_may_be_silent(
        self, relay: RunningRelay, dial: Dial
    ) -> None:
        (endpoint,) = relay.lease("lse_1")
        assert dial([endpoint]).wait_up(15)
        with connect(endpoint.listen_port) as talker:
            assert is_served(talker)
            with connect(endpoint.listen_port) as mute:
                assert mute.recv(1) == b""
            assert is_served(talker)

    def test_of_the_mute_of_an_address_only_so_many_reach_the_node_and_who_speaks_always_does(
        self, relay: RunningRelay, dial: Dial, echo: EchoServer
    ) -> None:
        (endpoint,) = relay.lease("lse_1")
        assert dial([endpoint]).wait_up(15)
        port = endpoint.listen_port
        with connect(port) as first, connect(port) as second, connect(port) as third:
            assert is_served(third)
            assert echo.connections == 2
            assert first.recv(1) == b""
            assert second.recv(1) == b""
            assert is_served(third)
        assert echo.connections == 2


def test_a_lease_that_has_ended_does_not_get_its_port_back_from_the_next_one(relay: RunningRelay, dial: Dial) -> None:
    (endpoint,) = relay.lease("lse_1")
    port = endpoint.listen_port
    login = relay.call(log_in(relay, "lse_1"))
    relay.leases.by_user["lse_2"] = relay.leases.by_user.pop("lse_1")
    assert dial([relay.endpoint("lse_2", port)]).wait_up(15)
    with pytest.raises(asyncssh.ChannelListenError):
        relay.call(ask_for(login, port))
    assert say(port, b"still there") == b"still there"
    relay.call(hang_up(login))


async def log_in(relay: RunningRelay, user: str) -> asyncssh.SSHClientConnection:
    """A node that has not asked for a port yet."""
    key = asyncssh.import_private_key(relay.node_key.openssh_private())
    options = {"username": user, "client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}
    return await asyncssh.connect("127.0.0.1", relay.port, **options)


async def ask_for(connection: asyncssh.SSHClientConnection, port: int) -> None:
    await connection.forward_remote_port("", port, "127.0.0.1", free_port())


async def hang_up(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()


@pytest.mark.parametrize("turns", [0, 1, 3, 4, 5, 6])
def test_who_arrives_while_the_relay_closes_is_hung_up_on(relay: RunningRelay, turns: int) -> None:
    """However far the relay had come with accepting it; two turns in it is Python that forgets it, not the relay:
    https://github.com/python/cpython/issues/109564.
    """

    async def arrive_and_close() -> socket.socket:
        arrived = connect(relay.port)
        for _ in range(turns):
            await asyncio.sleep(0)
        await relay.relay.close()
        return arrived

    with relay.call(arrive_and_close()) as arrived:
        assert ends(arrived)


def ends(peer: socket.socket) -> bool:
    """What was said before is read past."""
    try:
        while peer.recv(1024):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True
