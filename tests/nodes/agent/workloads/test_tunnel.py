"""A tunnel through a proxy on loopback that knows CONNECT and wants a password."""

from __future__ import annotations

import base64
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nodes.agent.workloads.tunnel import Forward, Tunnel
from tests.nodes.relay.conftest import EchoServer, RunningRelay, wait_until


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        wanted = "Basic " + base64.b64encode(b"me:p@ss").decode()
        if self.headers.get("Proxy-Authorization") != wanted:
            self.send_error(407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as beyond:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_copy, args=(beyond, self.connection), daemon=True)
            back.start()
            _copy(self.connection, beyond)
            back.join(5)

    def log_message(self, *_: object) -> None:
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    running = Proxy()
    yield running
    running.shutdown()
    running.server_close()


def _tunnel(folder: Path, relay: RunningRelay, echo: EchoServer, proxy: Proxy, user: str) -> tuple[Tunnel, int]:
    (endpoint,) = relay.lease("lse_1")
    url = f"http://{user}@127.0.0.1:{proxy.server_address[1]}"
    forwards = [Forward(endpoint, "127.0.0.1", echo.port)]
    return Tunnel(folder / "tunnel", relay.node_key, forwards, proxy_url=url), endpoint.listen_port


def test_a_host_that_only_gets_out_through_a_proxy_is_reached_by_its_buyers(
    relay: RunningRelay, echo: EchoServer, proxy: Proxy, tmp_path: Path
) -> None:
    tunnel, port = _tunnel(tmp_path, relay, echo, proxy, "me:p%40ss")
    tunnel.start()
    try:
        assert tunnel.wait_up(15), tunnel.last_line
        big = bytes(range(256)) * 4096
        with socket.create_connection(("127.0.0.1", port), timeout=10) as buyer:
            buyer.sendall(big)
            buyer.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: buyer.recv(65536), b"")) == big
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "nodes.agent.connect" in listed
        assert "p%40ss" not in listed
    finally:
        tunnel.stop()
    assert proxy.asked == [f"127.0.0.1:{relay.port}"]


def test_what_the_proxy_says_is_told(relay: RunningRelay, echo: EchoServer, proxy: Proxy, tmp_path: Path) -> None:
    tunnel, _ = _tunnel(tmp_path, relay, echo, proxy, "me:wrong")
    tunnel.start()
    try:
        wait_until(lambda: "407" in tunnel.last_line, "the proxy's answer")
        assert not tunnel.is_up
    finally:
        tunnel.stop()
