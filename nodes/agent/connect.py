"""Through a proxy that knows CONNECT. `python -m nodes.agent.connect HOST PORT` is the ProxyCommand of a tunnel's ssh.

The proxy comes in a variable, because its password must not be in the list of processes.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
import threading
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

PROXY_VARIABLE = "FALLOW_TUNNEL_PROXY"
PROXY_PORT = 3128
TROUBLE = "through the proxy"
ANSWER_BYTES_MAX = 16 * 1024
CONNECT_SECONDS = 20.0


class ProxyRefused(OSError):
    """The proxy would not connect; the text is what it said."""


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """Proxy-Authorization, when the proxy's address has a user."""
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def open_through(proxy_url: str, host: str, port: int, *, seconds: float = CONNECT_SECONDS) -> socket.socket:
    """A connection to `host` that the proxy made; raises OSError."""
    proxy = urlsplit(proxy_url)
    connection = socket.create_connection((proxy.hostname or "", proxy.port or PROXY_PORT), timeout=seconds)
    try:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = {"Host": place, **proxy_headers(proxy)}
        lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        _expect_success(connection)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def _expect_success(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)  # no more: what follows is the other end's
        if not byte or len(answer) > ANSWER_BYTES_MAX:
            raise ProxyRefused("the proxy hung up" if not byte else "the proxy's answer has no end")
        answer += byte
    status = answer.split(b"\r\n", 1)[0].decode(errors="replace")
    if status.split(" ")[1:2] != ["200"]:
        raise ProxyRefused(f"the proxy answered {status}")


def _pump(connection: socket.socket) -> None:
    def send() -> None:
        while data := os.read(0, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    while data := connection.recv(65536):
        while data:
            data = data[os.write(1, data) :]


def main(arguments: list[str], env: Mapping[str, str] = os.environ) -> int:
    """The exit status; ssh shows what is written to stderr."""
    try:
        _pump(open_through(env[PROXY_VARIABLE], arguments[0], int(arguments[1])))
    except OSError as error:
        print(f"{TROUBLE}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
