"""`make demo`: the whole exchange on this machine. Ctrl-C stops it, a second start goes on where it was."""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from marketplace.demo import embedded, orphans, place
from marketplace.demo.market import market_processes
from marketplace.demo.place import Place, manage
from marketplace.demo.private import write_private
from marketplace.demo.processes import spawn, stop, tail
from marketplace.demo.supervisor import Supervisor
from marketplace.demo.table import server_processes

READY_SECONDS = 120
TICK_SECONDS = 0.2


class Stopped(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM before everything was up."""


class NotReady(Exception):
    """A step failed or a process did not become ready; the message says where to look."""


def main() -> int:
    """Runs the demo until it is stopped; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(".local"), help="where everything is kept")
    stopping = _stop_on_signals()
    orphans.adopt()
    begun = time.monotonic()
    try:
        _run(parser.parse_args().data, stopping, begun)
    except Stopped:
        print("stopped")
    except (*embedded.FAILURES, embedded.AlreadyRunning, NotReady) as failure:
        print(f"the demo did not start: {failure}", file=sys.stderr)
        return 1
    finally:
        orphans.end_all()
    return 0


def _stop_on_signals() -> threading.Event:
    """The terminal's Ctrl-C reaches this process alone, for all others run in sessions of their own."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _run(data_dir: Path, stopping: threading.Event, begun: float) -> None:
    summary = data_dir.resolve() / "demo.json"
    summary.unlink(missing_ok=True)
    print("starting PostgreSQL and Redis", flush=True)
    with embedded.start(data_dir) as servers:
        here = place.find(data_dir, os.environ)
        environ = {**os.environ, **servers.environment(), **here.environment()}
        _prepare(here, environ, stopping)
        supervisor = Supervisor(
            log_dir=here.data_dir / "log", environ=environ, say=lambda line: print(line, flush=True)
        )
        try:
            _start(supervisor, here, environ["REDIS_URL"], stopping)
            people = json.loads(here.people_file.read_text())
            write_private(summary, {"url": here.url, **people})
            _greet(here, people, time.monotonic() - begun)
            while not stopping.wait(TICK_SECONDS):
                supervisor.tick()
            print("\nstopping", flush=True)
        finally:
            summary.unlink(missing_ok=True)
            supervisor.stop()


def _prepare(here: Place, environ: dict[str, str], stopping: threading.Event) -> None:
    """What has to be done before the first process starts; all of it may be done again."""
    _step("bringing the database up to date", manage("migrate", "--no-input"), here, environ, stopping)
    _step("loading the catalogue of GPUs", manage("load_catalogue"), here, environ, stopping)
    sample, today = place.ROOT / "marketplace/compliance/samples/screening_sample.csv", datetime.now(UTC).date()
    listed = manage("import_screening_list", str(sample), "--published", today.isoformat())
    _step("importing a list of invented names", listed, here, environ, stopping)
    _step("collecting static files", manage("collectstatic", "--no-input"), here, environ, stopping)
    people = (sys.executable, "-m", "marketplace.demo.people", str(here.people_file))
    _step("making the people of the demo", people, here, environ, stopping)
    sellers = (sys.executable, "-m", "marketplace.demo.sellers", str(here.data_dir), str(here.people_file))
    _step("making the sellers of the demo", sellers, here, environ, stopping)


def _step(name: str, argv: Sequence[str], here: Place, environ: dict[str, str], stopping: threading.Event) -> None:
    """Runs a command to its end; raises NotReady when it fails and Stopped when it is to be abandoned."""
    print(name, flush=True)
    log = here.data_dir / "log/prepare.log"
    process = spawn(argv, log=log, env=environ, cwd=place.ROOT)
    while process.poll() is None:
        if stopping.wait(0.05):
            stop(process, (signal.SIGTERM, 3.0))
            raise Stopped
    if process.returncode:
        raise NotReady(f"{name} failed; the end of {log}:\n{tail(log)}")


def _start(supervisor: Supervisor, here: Place, broker: str, stopping: threading.Event) -> None:
    print("starting the servers of the exchange", flush=True)
    supervisor.start(server_processes(here, broker=broker))
    _wait(supervisor, stopping)
    supervisor.start(market_processes(here))
    _wait(supervisor, stopping)


def _wait(supervisor: Supervisor, stopping: threading.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while waiting := supervisor.waiting_for():
        supervisor.tick()
        if stopping.wait(TICK_SECONDS):
            raise Stopped
        if time.monotonic() > deadline:
            log = supervisor.log_of(waiting[0])
            raise NotReady(f"not ready: {', '.join(waiting)}; the end of {log}:\n{tail(log)}")


def _greet(here: Place, people: dict[str, dict[str, str]], seconds: float) -> None:
    print(f"\nFallow is ready after {seconds:.0f} s: {here.url}\n")
    for key, login in people.items():
        print(f"  {key:9} {login['email']:20} {login['password']}")
    print(f"\nAPI keys are in {here.data_dir / 'demo.json'}, logs in {here.data_dir / 'log'}. Ctrl-C stops everything.")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
