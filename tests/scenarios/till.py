"""Web, worker and beat as processes beside Stripe's simulator, any part of which can be killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from marketplace.demo.processes import free_port, spawn, stop
from tests.nodes.ingest.process import ROOT
from tests.scenarios.outpost import Outpost

KILLED = ("web", "worker", "beat")
READY = {"worker": b" ready.", "beat": b"beat: Starting"}
END = (signal.SIGTERM, 10.0)


@dataclass
class Till(Outpost):
    """An outpost without servers of its own: `given` is the environment that names those of the test."""

    database: None = None  # type: ignore[assignment]
    folder: Path = Path()
    given: Mapping[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)  # how long a log was when its process began

    def start(self) -> None:
        """All of them at the same time; they are up when `is_up` says so."""
        for name in self.commands:
            self.start_process(name)

    def stop(self) -> None:
        """The processes."""
        for process in self.running.values():
            stop(process, END)

    @property
    def environment(self) -> dict[str, str]:
        """What every process is told."""
        return os.environ | self.given

    @property
    def commands(self) -> dict[str, list[str]]:
        """As the demo has them; beat is quicker."""
        gunicorn = f"gunicorn --workers 2 --worker-class gthread --threads 8 --bind 127.0.0.1:{self.web_port}"
        celery = "celery --quiet --app"
        worker = "worker --concurrency 2 --loglevel INFO --without-mingle --without-gossip"
        beat = f"beat --loglevel INFO --schedule {self.folder}/beat"
        return {
            "web": ["-m", *gunicorn.split(), "--no-control-socket", "marketplace.wsgi:application"],
            "matcher": ["manage.py", "matcher"],
            "worker": ["-m", *celery.split(), "marketplace.celery", *worker.split()],
            "beat": ["-m", *celery.split(), "tests.scenarios.quick_beat", *beat.split(), "--pidfile", ""],
        }

    def start_process(self, name: str) -> None:
        """One of `commands`."""
        log = self.folder / f"{name}.log"
        self.since[name] = log.stat().st_size if log.exists() else 0
        self.running[name] = spawn([sys.executable, *self.commands[name]], log=log, cwd=ROOT, env=self.environment)

    def is_up(self, name: str) -> bool:
        """Whether it works again since its last start."""
        if name == "web":
            return self.ask("GET", "/readyz")[0] == 200
        with (self.folder / f"{name}.log").open("rb") as log:
            log.seek(self.since[name])
            return READY[name] in log.read()

    def kill_some(self, name: str, chance: random.Random) -> str:
        """SIGKILL to all of it, and a new one; or to one of the hands that its first process has. Returns what died."""
        hands = self._hands(name)
        if hands and chance.random() < 0.5:
            os.kill(chance.choice(hands), signal.SIGKILL)  # the first process starts another
            return "a hand"
        self.kill_process(name)
        return "all of it"

    def _hands(self, name: str) -> list[int]:
        pid = self.running[name].pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def new_till(folder: Path, given: Mapping[str, str]) -> Till:
    """Not started yet; its `web_port` is known already."""
    return Till(folder=folder, given=given, web_port=free_port())
