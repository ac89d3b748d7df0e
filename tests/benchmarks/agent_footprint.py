"""What the agent costs beside gpustat and nvitop: 8 cards of one fake driver library, once a second, in one run.

    python -m tests.benchmarks.agent_footprint [--seconds 20] [--json]

RSS is VmRSS at the end; CPU is the scheduler's nanoseconds of all threads per sample; start is the time from the
process's start to its first report (agent) or first sample (the others), as wall time and as CPU, which a busy
machine changes less.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nacl.signing import SigningKey

from nodes.agent import protocol

ROOT = Path(__file__).parents[2]
CARDS = 8
GOALS = {"rss_mib": 32.0, "cpu_ms": 1.5, "start_ms": 250.0}
START_DEADLINE_SECONDS = 30

GPUSTAT = """
import sys, time, io, gpustat
while True:
    gpustat.GPUStatCollection.new_query().print_json(io.StringIO())
    print("sample", flush=True)
    time.sleep(1)
"""
NVITOP = """
import time
from nvitop import Device
devices = Device.all()
while True:
    for device in devices:
        device.as_snapshot()
        [process.as_snapshot() for process in device.processes().values()]
    print("sample", flush=True)
    time.sleep(1)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one tool took."""

    tool: str
    start_ms: float
    start_cpu_ms: float
    rss_mib: float
    anonymous_mib: float
    cpu_ms: float


def build_library(folder: Path) -> Path | None:
    """The fake libnvidia-ml.so.1 in `folder`, None without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_nvml.c")
    flags = ["-O2", "-shared", "-fPIC", "-w", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
    return library


class Server(ThreadingHTTPServer):
    """A loopback server that enrols anyone and takes every report."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.first_report = threading.Event()
        self.reports = 0

    def reply(self, path: str, body: bytes) -> bytes:
        """The body of the answer."""
        if path == protocol.ENROL_PATH:
            key = b64encode(bytes(SigningKey.generate().verify_key)).decode()
            return protocol.encode(protocol.EnrolReply("nod_bench", "bearer", key, self.url, self.url))
        if path == protocol.REPORTS_PATH:
            self.reports += 1
            self.first_report.set()
            now_ms = time.time_ns() // 1_000_000
            return protocol.encode(protocol.ReportReply(now_ms, 5000, False, False, []))
        return b"{}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.reply(self.path, body)
        self.send_response(202 if self.path == protocol.REPORTS_PATH else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def measure_agent(folder: Path, seconds: float) -> Cost:
    """The agent as it runs on a host: enrolled, reporting, with no engine."""
    with _serving() as server:
        env = _environment(folder) | {
            "FALLOW_STATE_DIR": str(folder / "state"),
            "FALLOW_CONFIG_DIR": str(folder / "config"),
            "FALLOW_RUNTIME": "none",
        }
        agent = [sys.executable, "-m", "nodes.agent"]
        enrol = [*agent, "enrol", "--server", server.url, "--token", "bench"]
        subprocess.run(enrol, env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        with _running([*agent, "run"], env, subprocess.DEVNULL) as process:
            if not server.first_report.wait(START_DEADLINE_SECONDS):
                raise RuntimeError("the agent sent no report")
            return _observe("fallow-agent", process.pid, (time.monotonic() - begun) * 1000, seconds)


def measure_script(tool: str, script: str, folder: Path, seconds: float) -> Cost:
    """A tool's own library call, once a second."""
    subprocess.run([sys.executable, "-c", f"import {tool}"], env=_environment(folder), cwd=ROOT, check=True)
    begun = time.monotonic()
    with _running([sys.executable, "-c", script], _environment(folder), subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != b"sample":
            raise RuntimeError(f"{tool} ended before its first sample")
        return _observe(tool, process.pid, (time.monotonic() - begun) * 1000, seconds)


def measure(seconds: float) -> list[Cost]:
    """All three, one after the other; the agent first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if build_library(folder) is None:
            raise SystemExit("no C compiler: nothing was measured")
        return [
            measure_agent(folder, seconds),
            measure_script("gpustat", GPUSTAT, folder, seconds),
            measure_script("nvitop", NVITOP, folder, seconds),
        ]


def _environment(folder: Path) -> dict[str, str]:
    """Bytecode is kept, as where a tool is installed; the first start of each, which writes it, is not measured."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FALLOW_", "PYTHON"))}
    return kept | {
        "LD_LIBRARY_PATH": str(folder),
        "FAKE_NVML_CARDS": str(CARDS),
        "MALLOC_ARENA_MAX": "2",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
    }


@contextlib.contextmanager
def _serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def _running(command: list[str], env: dict[str, str], stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _observe(tool: str, pid: int, start_ms: float, seconds: float) -> Cost:
    """Let it run for `seconds`; every tool samples once a second, so a second is a sample."""
    before, begun = _cpu_ns(pid), time.monotonic()
    time.sleep(seconds)
    samples = time.monotonic() - begun
    status = Path(f"/proc/{pid}/status").read_text()
    return Cost(
        tool=tool,
        start_ms=start_ms,
        start_cpu_ms=before / 1e6,
        rss_mib=_kib(status, "VmRSS") / 1024,
        anonymous_mib=_kib(status, "RssAnon") / 1024,
        cpu_ms=(_cpu_ns(pid) - before) / 1e6 / samples,
    )


def _cpu_ns(pid: int) -> int:
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _kib(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def _print_table(costs: list[Cost]) -> None:
    own = costs[0]
    titles = ("start ms", "start CPU", "RSS MiB", "anon MiB", "CPU ms", "RSS ratio", "CPU ratio")
    print(" " * 14 + "".join(f"{title:>11}" for title in titles) + "   (CPU per sample)")
    for cost in costs:
        print(
            f"{cost.tool:14}{cost.start_ms:11.0f}{cost.start_cpu_ms:11.0f}{cost.rss_mib:11.1f}{cost.anonymous_mib:11.1f}"
            f"{cost.cpu_ms:11.2f}{cost.rss_mib / own.rss_mib:10.2f}x{cost.cpu_ms / own.cpu_ms:10.2f}x"
        )
    for name, goal in GOALS.items():
        value = getattr(own, name)
        print(f"goal {name} <= {goal:g}: {value:.2f} {'met' if value <= goal else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    costs = measure(options.seconds)
    if options.json:
        print(json.dumps([asdict(cost) for cost in costs]))
    else:
        _print_table(costs)


if __name__ == "__main__":
    main()
