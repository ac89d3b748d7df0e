"""PostgreSQL and Redis for a checkout, for as long as a command runs.

    python -m marketplace.demo.embedded run --data .local/test -- pytest
    eval "$(python -m marketplace.demo.embedded shell --data .local)"
    python -m marketplace.demo.embedded clean --data .local

What DATABASE_URL or REDIS_URL name already is used as it is, and nothing is started in its place.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

from marketplace.demo import ground, postgres, redis_server
from marketplace.demo.private import Secrets, kept_secrets, write_private
from marketplace.demo.processes import leashed, wait_until

LOCK_SECONDS = 15
FAILURES = (ground.MissingWheel, postgres.PostgresFailed, redis_server.RedisFailed)


class AlreadyRunning(RuntimeError):
    """Another process has started servers on this data and is still there."""


@dataclass(frozen=True)
class Servers:
    """Running servers; an empty superuser_url means that somebody else runs PostgreSQL."""

    database_url: str
    owner_url: str
    superuser_url: str
    redis_url: str
    secret_key: str
    own: contextlib.ExitStack

    def environment(self) -> dict[str, str]:
        """The variables that Fallow's processes read."""
        named = {
            "DATABASE_URL": self.database_url,
            "DATABASE_OWNER_URL": self.owner_url,
            "DATABASE_SUPERUSER_URL": self.superuser_url,
            "REDIS_URL": self.redis_url,
            "SECRET_KEY": self.secret_key,
        }
        return {name: value for name, value in named.items() if value}

    def stop(self) -> None:
        """Stops what start() started; a second call does nothing."""
        self.own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(data_dir: Path, environ: Mapping[str, str] = os.environ) -> Servers:
    """Starts what environ does not name; call it from the main thread. Raises AlreadyRunning and FAILURES."""
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    kept = kept_secrets(data_dir / "secrets.json")
    with contextlib.ExitStack() as own:
        urls = _given(environ)
        if not (urls.get("DATABASE_URL") and urls.get("REDIS_URL")):
            own.enter_context(_locked(data_dir))
            urls = _start_missing(data_dir, kept, urls, own)
        return Servers(
            database_url=urls["DATABASE_URL"],
            owner_url=urls.get("DATABASE_OWNER_URL") or urls["DATABASE_URL"],
            superuser_url=urls.get("DATABASE_SUPERUSER_URL", ""),
            redis_url=urls["REDIS_URL"],
            secret_key=environ.get("SECRET_KEY") or kept.secret_key,
            own=own.pop_all(),
        )


def running(data_dir: Path) -> dict[str, str]:
    """The environment of the servers that another process keeps on data_dir; empty when none does."""
    state = data_dir / "running.json"
    if not state.exists():
        return {}
    with (data_dir / "lock").open("a") as lock:
        if _try_lock(lock):
            return {}
    environment: dict[str, str] = json.loads(state.read_text())
    return environment | {"SECRET_KEY": kept_secrets(data_dir / "secrets.json").secret_key}


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    names = ["DATABASE_URL", "REDIS_URL"]
    if environ.get("DATABASE_URL"):
        names += ["DATABASE_OWNER_URL", "DATABASE_SUPERUSER_URL"]
    return {name: environ[name] for name in names if environ.get(name)}


def _start_missing(data_dir: Path, kept: Secrets, urls: dict[str, str], own: contextlib.ExitStack) -> dict[str, str]:
    place = ground.prepare(data_dir)
    state = data_dir / "running.json"
    before: dict[str, str] = json.loads(state.read_text()) if state.exists() else {}
    started: dict[str, str] = {}
    if "DATABASE_URL" not in urls:
        passwords = postgres.Passwords(kept.superuser, kept.owner, kept.runtime)
        server = postgres.start(
            place, passwords, log=data_dir / "log/postgres.log", preferred_port=_port(before, "DATABASE_URL")
        )
        own.callback(server.stop)
        started["DATABASE_URL"] = server.url(postgres.RUNTIME, kept.runtime)
        started["DATABASE_OWNER_URL"] = server.url(postgres.OWNER, kept.owner)
        started["DATABASE_SUPERUSER_URL"] = server.url(postgres.SUPERUSER, kept.superuser)
    if "REDIS_URL" not in urls:
        redis = redis_server.start(
            place, kept.redis, log=data_dir / "log/redis.log", preferred_port=_port(before, "REDIS_URL")
        )
        own.callback(redis.stop)
        started["REDIS_URL"] = redis.url
    write_private(state, started)
    return urls | started


def _port(environment: Mapping[str, str], name: str) -> int | None:
    """The port of last time: bookmarks and open shells stay right."""
    return urlsplit(environment[name]).port if name in environment else None


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """One set of servers a data folder; a holder that is just ending is waited for."""
    with (data_dir / "lock").open("a") as lock:
        if not wait_until(lambda: _try_lock(lock), seconds=LOCK_SECONDS):
            raise AlreadyRunning(f"servers already run on {data_dir}; stop them first")
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    own, command = _split(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m marketplace.demo.embedded", description="PostgreSQL and Redis.")
    parser.add_argument("action", choices=["run", "shell", "clean"])
    parser.add_argument("--data", type=Path, default=Path(".local"), help="where data, logs and passwords are kept")
    parser.epilog = "run takes the command after --, for example: run --data .local/test -- pytest"
    options = parser.parse_args(own)
    try:
        match options.action:
            case "run":
                return _run(options.data, command or parser.error("run needs a command after --"))
            case "shell":
                return _shell(options.data)
            case _:
                return _clean(options.data)
    except (*FAILURES, AlreadyRunning) as failure:
        print(f"embedded servers: {failure}", file=sys.stderr)
        return 1


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first -- and what after it."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut + 1 :]


def _run(data_dir: Path, command: list[str]) -> int:
    """Runs command over the servers and passes its exit status on, 128 + n after signal n."""
    stopped_by: list[int] = []
    _catch_signals(stopped_by)
    with start(data_dir) as servers:
        if stopped_by:
            return 128 + stopped_by[0]
        process = subprocess.Popen(leashed(command), env=os.environ | servers.environment())
        _forward_signals(process)
        status = process.wait()
    return status if status >= 0 else 128 - status


def _catch_signals(caught: list[int]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: caught.append(number))


def _forward_signals(process: subprocess.Popen[bytes]) -> None:
    """The terminal sends Ctrl-C to the command as well, so that one is only survived here, to stop the servers."""

    def forward(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGHUP, forward)


def _shell(data_dir: Path) -> int:
    environment = running(data_dir)
    if not environment:
        print(f"no servers run on {data_dir}: `make demo` starts them", file=sys.stderr)
        return 1
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _clean(data_dir: Path) -> int:
    if running(data_dir):
        raise AlreadyRunning(f"servers still run on {data_dir}; stop them first")
    ground.remove(data_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
