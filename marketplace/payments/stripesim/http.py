"""The HTTP side: a thread per connection on 127.0.0.1, kept open between requests."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from marketplace.payments.stripesim import control
from marketplace.payments.stripesim.pages import hosted
from marketplace.payments.stripesim.server import Answer, Request, Simulator

LOOPBACK = "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    simulator: ClassVar[Simulator]

    def _go(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, parts.path, parts.query, headers, self.rfile.read(length))
        answer = self._answer(request)
        if answer.lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def _answer(self, request: Request) -> Answer:
        try:
            if request.path.startswith(("/v1/", "/v2/")):
                return self.simulator.handle(request)
            if request.path.startswith("/_sim/"):
                return control.handle(self.simulator, request)
            return hosted.handle(self.simulator.world, request)
        except Exception as broken:
            self.simulator.drifts.append(f"{request.method} {request.path}: {broken!r}")
            self.log_error("%r", broken)
            raise

    do_GET = do_POST = do_DELETE = _go

    def log_message(self, format: str, *args: object) -> None:
        """Only what went wrong is written down."""

    def log_error(self, format: str, *args: object) -> None:
        super().log_message(format, *args)


class Server(ThreadingHTTPServer):
    """Serves one simulator; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, simulator: Simulator) -> None:
        handler = type("Handler", (_Handler,), {"simulator": simulator})
        super().__init__((LOOPBACK, port), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of ours; ours are in `drifts` already."""
