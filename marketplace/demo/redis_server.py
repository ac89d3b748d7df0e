"""Redis from a wheel: nothing on disk, because a lost Redis must cost nothing."""

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from marketplace.demo.ground import Ground
from marketplace.demo.processes import free_port, spawn, stop, tail

START_SECONDS = 20
STOP = (signal.SIGTERM, 3.0)
CONFIGURATION = """
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
databases 16
"""


@dataclass(frozen=True)
class RedisServer:
    """A running server; url names its database 0."""

    process: subprocess.Popen[bytes]
    port: int
    url: str

    def stop(self) -> None:
        """Ends it within 3 s."""
        stop(self.process, STOP)


class RedisFailed(RuntimeError):
    """Redis did not come up; the message ends with its log."""


def start(ground: Ground, password: str, *, log: Path, preferred_port: int | None) -> RedisServer:
    """Starts Redis on a loopback port; raises RedisFailed."""
    for port in (free_port(preferred_port), free_port()):
        process = spawn(
            [ground.redis_server, "-"], log=log, account=ground.account, cwd=ground.home, stdin=subprocess.PIPE
        )
        _configure(process, CONFIGURATION.format(port=port, password=password))
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        if _answers(process, url):
            return RedisServer(process, port, url)
        stop(process, STOP)
    raise RedisFailed(f"Redis did not start; the end of {log}:\n{tail(log)}")


def _configure(process: subprocess.Popen[bytes], text: str) -> None:
    """By standard input, so that the password is on no command line and in no file."""
    assert process.stdin is not None
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
    except BrokenPipeError:  # it ended at once; the log says why
        return


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return bool(client.ping())
            except redis.RedisError:
                time.sleep(0.02)
    return False
