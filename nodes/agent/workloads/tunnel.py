"""The node's outbound leg: stock `ssh -N -R` to the relay, kept up until told to stop."""

from __future__ import annotations

import logging
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.agent import connect
from nodes.agent.connect import PROXY_VARIABLE
from nodes.agent.protocol import RelayEndpoint
from nodes.agent.workloads.openssh import Ed25519Key, write_secret

log = logging.getLogger(__name__)

RETRY_SECONDS_MAX = 30.0
# The client says so for each -R at `LogLevel=DEBUG1`; there is no other sign that a forwarding stands.
_FORWARDED = "remote forward success"


@dataclass(frozen=True, slots=True)
class Forward:
    """A public port of the relay and where its connections go on this host."""

    endpoint: RelayEndpoint
    target_host: str
    target_port: int


class Tunnel:
    """One ssh client for all forwards of a lease; `folder` keeps its key, the relay's pinned key and its pid."""

    def __init__(
        self, folder: Path, key: Ed25519Key, forwards: Sequence[Forward], *, proxy_url: str | None = None
    ) -> None:
        assert forwards, "a tunnel forwards at least one port"
        self._folder = folder
        self._key = key
        self._forwards = forwards
        self._proxy_url = proxy_url
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_up, name="tunnel", daemon=True)
        self.last_line = ""

    def start(self) -> None:
        """Dial in the background; a client that an earlier agent left behind is ended first."""
        end_left_behind(self._folder)
        self._write_files()
        self._thread.start()

    def wait_up(self, seconds: float) -> bool:
        """Whether every forward stood within `seconds`."""
        return self._up.wait(seconds)

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    def stop(self) -> None:
        """Hang up and remove the key."""
        self._stopping.set()
        with self._lock:
            if self._process is not None:
                _end(self._process)
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        for name in ("relay-key", "known-hosts", "tunnel.pid"):
            (self._folder / name).unlink(missing_ok=True)

    def _write_files(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_secret(self._folder / "relay-key", self._key.openssh_private())
        lines = {f"[{each.endpoint.host}]:{each.endpoint.port} {each.endpoint.host_key}" for each in self._forwards}
        # ssh looks a host on port 22 up without the brackets
        lines |= {f"{each.endpoint.host} {each.endpoint.host_key}" for each in self._forwards}
        (self._folder / "known-hosts").write_text("\n".join(sorted(lines)) + "\n")

    def _keep_up(self) -> None:
        ceiling = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            self._dial()
            self._up.clear()
            ceiling = 1.0 if time.monotonic() - started > RETRY_SECONDS_MAX else min(ceiling * 2, RETRY_SECONDS_MAX)
            self._stopping.wait(random.uniform(0.1, ceiling))  # noqa: S311 full jitter, no secret

    def _dial(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            try:
                process = subprocess.Popen(
                    ssh_command(self._folder, self._forwards, through_proxy=self._proxy_url is not None),
                    env=os.environ | ({PROXY_VARIABLE: self._proxy_url} if self._proxy_url else {}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            except OSError as error:
                self.last_line = f"ssh could not be started: {error.strerror}"
                return
            self._process = process
        try:
            (self._folder / "tunnel.pid").write_text(str(process.pid))
        except OSError as error:  # of a full disk: an agent that is killed now leaves this client behind
            log.warning("tunnel.pid can't be written: %s", error)
        self._listen_to(process)

    def _listen_to(self, process: subprocess.Popen[str]) -> None:
        standing, said = 0, ""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                if _FORWARDED in line:
                    standing += 1
                elif not line.startswith("debug1:"):
                    said = said if said.startswith(connect.TROUBLE) else line.strip()  # ssh adds that it was cut off
                    self.last_line = said or self.last_line
                if standing == len(self._forwards):
                    self._up.set()
        process.wait()
        with self._lock:
            self._process = None


def ssh_command(folder: Path, forwards: Sequence[Forward], *, through_proxy: bool = False) -> list[str]:
    """The whole command line; nothing of the owner's own ssh configuration takes part."""
    endpoint = forwards[0].endpoint
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ControlPath": "none",
        "ExitOnForwardFailure": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlgorithms": endpoint.host_key.split()[0],
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "DEBUG1",
        "PreferredAuthentications": "publickey",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "15",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": str(folder / "known-hosts"),
    }
    if through_proxy:
        options["ProxyCommand"] = f"{shlex.quote(sys.executable).replace('%', '%%')} -m {connect.__name__} %h %p"
    command = ["ssh", "-F", "/dev/null", "-N", "-T", "-i", str(folder / "relay-key"), "-p", str(endpoint.port)]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    for each in forwards:
        command += ["-R", f"{each.endpoint.listen_port}:{each.target_host}:{each.target_port}"]
    return [*command, "-l", endpoint.user, "--", endpoint.host]


def end_left_behind(folder: Path) -> None:
    """End the client of an agent that was killed; a pid that means another program by now is left alone."""
    try:
        pid = int((folder / "tunnel.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if str(folder / "relay-key").encode() in command:
        os.kill(pid, signal.SIGTERM)
    (folder / "tunnel.pid").unlink(missing_ok=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
