"""Starting and stopping programs so that none outlives the process that started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

LEASH = Path(__file__).with_name("leash.py")
POLL_S = 0.05


@dataclass(frozen=True)
class Account:
    """The system user that a program runs as."""

    uid: int
    gid: int


def leashed(
    argv: Sequence[str | Path], *, death_signal: int = signal.SIGTERM, account: Account | None = None
) -> list[str]:
    """The command line that runs argv and sends it death_signal when the calling process dies (on Linux)."""
    user = (account.uid, account.gid) if account else ("-", "-")
    # -I and -S: nothing of the checkout or of site-packages is needed to become another program
    python = [sys.executable, "-I", "-S", str(LEASH)]
    return [*python, *map(str, (os.getpid(), int(death_signal), *user, *argv))]


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    death_signal: int = signal.SIGTERM,
    account: Account | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts argv in a session of its own, out of reach of the terminal's Ctrl-C, its output appended to log."""
    with open_log(log) as output:
        return subprocess.Popen(
            leashed(argv, death_signal=death_signal, account=account),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], *signals_and_seconds: tuple[int, float]) -> int:
    """Sends each signal in turn and waits its seconds for the end, at last SIGKILL; returns the exit status."""
    for number, seconds in signals_and_seconds:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Polls condition until it holds; False when it did not within seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def free_port(preferred: int | None = None) -> int:
    """A TCP port of the loopback that nothing listens on, the preferred one when it is free."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def command_line(pid: int) -> str:
    """What pid runs, empty when there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout


def open_log(log: Path) -> BinaryIO:
    """Opens log for appending; readable by its owner alone, because statements may be in it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def tail(log: Path, *, lines: int = 12) -> str:
    """The last lines of a log, empty when there is none."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
