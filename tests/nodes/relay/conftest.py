from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nodes.agent.protocol import RelayEndpoint
from nodes.agent.workloads.openssh import Ed25519Key
from nodes.relay.server import Relay, serve
from nodes.relay.tunnels import Limits, Tunnel


class Leases:
    """The lookup of the tests: leases in a dict, changed while the relay runs."""

    def __init__(self) -> None:
        self.by_user: dict[str, Tunnel] = {}

    async def find(self, user: str) -> Tunnel | None:
        return self.by_user.get(user)


class RunningRelay:
    """A relay on its own thread, as it runs beside a node and a buyer in life."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.leases = Leases()
        self.node_key = Ed25519Key.generate()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._key_path = folder / "relay-host-key"
        self._limits = limits
        self.relay: Relay = self.call(self._serve(0))
        self.port = self.relay.port

    async def _serve(self, port: int) -> Relay:
        return await serve(
            host="127.0.0.1",
            port=port,
            host_key_path=self._key_path,
            tunnels=self.leases,
            bind_host="127.0.0.1",
            limits=self._limits,
        )

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(timeout=20)

    def lease(self, user: str, ports: int = 1) -> list[RelayEndpoint]:
        """Give a lease the right to some free ports."""
        numbers = [free_port() for _ in range(ports)]
        self.leases.by_user[user] = Tunnel(self.node_key.public_line, frozenset(numbers))
        return [self.endpoint(user, number) for number in numbers]

    def endpoint(self, user: str, listen_port: int) -> RelayEndpoint:
        return RelayEndpoint("127.0.0.1", self.port, self.relay.host_key, listen_port, user)

    def restart(self) -> None:
        self.call(self.relay.close())
        self.relay = self.call(self._serve(self.port))

    def close(self) -> None:
        self.call(self.relay.close())
        self.call(self._finish_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        _collect_half_accepted()

    async def _finish_tasks(self) -> None:
        await _turns()  # whoever was accepted a moment ago begins, else nobody would hang up on him
        while others := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await _turns()


async def _turns() -> None:
    """Let the loop go round as often as the longest chain of callbacks of a connection."""
    for _ in range(20):
        await asyncio.sleep(0)


def _collect_half_accepted() -> None:
    """Python leaves a connection that its server was accepting as it closed to the garbage collector, which would tell
    some later test of it: https://github.com/python/cpython/issues/109564.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        gc.collect()


class EchoServer:
    """Answers every byte with itself on a loopback port."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def connections(self) -> int:
        """How many ever came."""
        return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._accepting.join()
        self._socket.close()
        for each in self._open:
            each.close()


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection from an address of this host; all of 127.0.0.0/8 are."""
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def relay(tmp_path: Path, limits: Limits) -> Iterator[RunningRelay]:
    running = RunningRelay(tmp_path, limits)
    yield running
    running.close()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()
