"""A scripted fleet on disk, and a server on loopback that writes down what it is told."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from nacl.signing import SigningKey

from nodes.agent import simulator
from nodes.agent.protocol import (
    AssignmentCommand,
    EnrolReply,
    ReportReply,
    SignedCommand,
    WorkloadSpec,
    encode,
)

NODE = "node_test"
COMMAND_KEY = SigningKey(b"c" * 32)


class ScriptedFleet:
    def __init__(self, path):
        self.path = path
        self.value = {"cards": []}

    def write(self, **changes):
        self.value |= changes
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.value))
        fresh.replace(self.path)

    def change(self, index, **changes):
        self.value["cards"][index] |= changes
        self.write()


@pytest.fixture
def fleet(tmp_path):
    scripted = ScriptedFleet(tmp_path / "fleet.json")
    scripted.write(
        cards=[
            {"name": "NVIDIA GeForce RTX 4090", "memory_used_mib": 2},
            {"name": "NVIDIA H100 80GB HBM3", "memory_total_mib": 81559, "pci_device": "10de:2330", "mig": False},
        ]
    )
    simulator.install(scripted.path)
    yield scripted
    simulator.remove()


class SmallDisk:
    """A file system of its own that can be filled to the last block."""

    def __init__(self, path):
        self.path = path

    def fill(self):
        with (self.path / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass

    def clear(self):
        (self.path / "filler").unlink(missing_ok=True)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk that fills up: needs root")
    yield SmallDisk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)


class Server:
    """`answers[path]` is (status, headers, body) or a function of the request's body that gives it."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        self.connections = set()
        self.hang_up_after_answer = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, args=[0.01], daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def bodies(self, path):
        return [body for where, _, body in self.requests if where == path]

    def wrap(self, context):
        """Speak TLS from now on; the handshake is left to each connection's own thread."""
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append((self.path, dict(self.headers), body))
                server.connections.add(self.client_address)
                answer = server.answers.get(self.path, (204, {}, b""))
                status, headers, text = answer(body) if callable(answer) else answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                self.wfile.flush()
                self.close_connection = self.close_connection or server.hang_up_after_answer

            def handle(self):
                with contextlib.suppress(ssl.SSLError, ConnectionError):  # a client that trusts us not
                    super().handle()

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def server():
    scripted = Server()
    yield scripted
    scripted.close()


@pytest.fixture
def enrolment(server):
    return EnrolReply(
        node=NODE,
        bearer="fal_node_x",
        command_public_key=base64.b64encode(bytes(COMMAND_KEY.verify_key)).decode(),
        reports_url=server.url,
        server_url=server.url,
    )


def reply(*commands, interval_ms=5000, inventory_wanted=False):
    body = ReportReply(
        server_ts_ms=1, interval_ms=interval_ms, inventory_wanted=inventory_wanted, draining=False, commands=[*commands]
    )
    return 202, {}, encode(body)


def command(*, wanted="run", lease="lease_1", epochs=None, node=NODE, ttl_seconds=600):
    return AssignmentCommand(
        assignment=f"asg_{lease}",
        lease=lease,
        node=node,
        wanted=wanted,
        epochs=epochs or {"GPU-a": 1},
        ttl_seconds=ttl_seconds,
        stop_grace_seconds=30,
        spec=WorkloadSpec(image="alpine", ssh_public_key="ssh-ed25519 AAAA") if wanted == "run" else None,
    )


def signed(what, key=COMMAND_KEY):
    payload = encode(what)
    return SignedCommand(payload.decode(), base64.b64encode(key.sign(payload).signature).decode())
