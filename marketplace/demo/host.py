"""One host of the demo: enrols the first time, then becomes the agent. Run as `-m … DATA_DIR NAME`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from marketplace.demo.fleet import host_dir

AGENT = (sys.executable, "-m", "nodes.agent")
MEASURE_SECONDS = 900


def environment_of(data_dir: Path, name: str) -> dict[str, str]:
    """What the host's agent is started with."""
    folder = host_dir(data_dir, name)
    return os.environ | {
        "FALLOW_STATE_DIR": str(folder / "state"),
        "FALLOW_CONFIG_DIR": str(folder / "config"),
        "FALLOW_SIMULATOR": str(folder / "fleet.json"),
        "FALLOW_RUNTIME": "process",
        "FALLOW_ALLOW_PROCESS_RUNTIME": "1",
    }


def measure(data_dir: Path, name: str, card: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The host's agent measures one of its cards, by UUID; raises subprocess.TimeoutExpired."""
    return subprocess.run(
        [*AGENT, "measure", "--quick", "--card", card, *options],
        env=environment_of(data_dir, name),
        capture_output=True,
        text=True,
        timeout=MEASURE_SECONDS,
        check=False,
    )


def power_cycle(data_dir: Path, name: str) -> None:
    """End the host's agent, which the demo starts again: a card is taken out of a machine that is off."""
    os.kill(int(_pid_file(data_dir, name).read_text()), signal.SIGTERM)


def _pid_file(data_dir: Path, name: str) -> Path:
    return host_dir(data_dir, name) / "pid"


def main(data_dir: Path, name: str) -> None:
    """The agent is the real one; its driver is scripted, and without an engine its leases are plain processes."""
    folder, environment = host_dir(data_dir, name), environment_of(data_dir, name)
    enrolled = folder / "enrolled"
    if not enrolled.exists():
        token = json.loads((data_dir / "enrolment.json").read_text())[name]
        server = os.environ["PUBLIC_URL"]
        subprocess.run(
            [*AGENT, "enrol", "--server", server, "--token", token, "--name", name], env=environment, check=True
        )
        enrolled.touch()
    _pid_file(data_dir, name).write_text(str(os.getpid()))
    os.execve(AGENT[0], [*AGENT, "run"], environment)  # noqa: S606 - the same program, with our own arguments


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
