"""The systemd service: `fallow-agent install` and `uninstall`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from nodes.agent.state import StateError

UNIT_PATH = Path("/etc/systemd/system/fallow-agent.service")
TEMPLATE = Path(__file__).with_name("fallow-agent.service")


class UnitError(StateError):
    """The service could not be set up; the text says why."""


def install(unit_path: Path = UNIT_PATH) -> None:
    """Write the unit for this very program, and start it now and at every boot."""
    _require_root()
    unit_path.write_text(unit_text(_program()))
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", unit_path.name)


def uninstall(unit_path: Path = UNIT_PATH) -> None:
    """Stop the service and remove the unit; key and enrolment stay in the state folder."""
    _require_root()
    if unit_path.exists():
        _systemctl("disable", "--now", unit_path.name)
        unit_path.unlink()
        _systemctl("daemon-reload")


def unit_text(program: str) -> str:
    """The unit that starts `program run`."""
    return TEMPLATE.read_text().replace("@PROGRAM@", program)


def _program() -> str:
    found = shutil.which("fallow-agent")
    return found or f"{sys.executable} -m nodes.agent"


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UnitError("run as root")


def _systemctl(*arguments: str) -> None:
    try:
        subprocess.run(["systemctl", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UnitError("this host has no systemd: start `fallow-agent run` with what it has") from error
    except subprocess.CalledProcessError as error:
        raise UnitError(f"systemctl {arguments[0]}: {error.stderr.strip()}") from error
