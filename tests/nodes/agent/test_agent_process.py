"""The agent as the service starts it: a process of its own, a scripted fleet, a server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from nodes.agent.protocol import ENROL_PATH, INVENTORY_PATH, REPORTS_PATH, EnrolRequest, Inventory, decode, encode
from nodes.agent.state import StateDir
from nodes.agent.unit import unit_text
from tests.nodes.agent.conftest import reply

DEADLINE_SECONDS = 20


@pytest.fixture
def agent(tmp_path, fleet):
    env = {
        "PATH": os.environ["PATH"],
        "FALLOW_STATE_DIR": str(tmp_path / "state"),
        "FALLOW_CONFIG_DIR": str(tmp_path / "config"),
        "FALLOW_SIMULATOR": str(fleet.path),
        "FALLOW_RUNTIME": "none",
    }

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "nodes.agent", *arguments],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def enrolled(agent, server, enrolment):
    server.answers[ENROL_PATH] = (201, {}, encode(enrolment))
    server.answers[REPORTS_PATH] = reply()
    status, said = finish(agent("enrol", "--server", server.url, "--token", "fal_enrol_t", "--name", "attic"))
    assert status == 0, said
    return agent


def finish(process):
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, out + err


def test_a_host_enrols_reports_and_ends_when_told(enrolled, server, tmp_path):
    assert decode(EnrolRequest, server.bodies(ENROL_PATH)[0]).inventory.hostname == "attic"
    running = enrolled("run")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (tmp_path / "state/status.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    status, said = finish(running)
    assert (status, len(server.bodies(REPORTS_PATH))) == (0, 1), said
    assert decode(Inventory, server.bodies(INVENTORY_PATH)[0]).hostname == "attic"
    status, said = finish(enrolled("status"))
    assert (status, len(json.loads(said)["cards"])) == (0, 2)


def test_a_full_disk_keeps_no_agent_from_starting(agent, server, enrolment, tmp_path, small_disk):
    (tmp_path / "state").symlink_to(small_disk.path)
    server.answers[ENROL_PATH] = (201, {}, encode(enrolment))
    server.answers[REPORTS_PATH] = reply()
    finish(agent("enrol", "--server", server.url, "--token", "fal_enrol_t"))
    StateDir(tmp_path / "state").next_run()
    small_disk.fill()
    running = agent("run")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not server.bodies(REPORTS_PATH) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    status, said = finish(running)
    assert (status, len(server.bodies(REPORTS_PATH))) == (0, 1), said


def test_the_doctor_names_each_fault_and_what_is_well(enrolled, fleet):
    fleet.change(1, recovery_action=2)
    status, said = finish(enrolled("doctor"))
    assert status == 1
    assert "ok   card 0: NVIDIA GeForce RTX 4090: healthy" in said
    assert "FAIL card 1: NVIDIA H100 80GB HBM3: RECOVERY_WANTED" in said
    assert "ok   server: answers" in said
    assert "FAIL runtime" in said


def test_a_wrong_setting_is_one_line(agent, fleet):
    fleet.path.write_text("{")
    status, said = finish(agent("doctor"))
    assert (status, len(said.splitlines())) == (1, 1)


def test_the_unit_starts_this_program():
    assert "ExecStart=/opt/fallow/bin/fallow-agent run\n" in unit_text("/opt/fallow/bin/fallow-agent")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "fallow-agent.service"
    unit.write_text(unit_text(sys.executable))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("setting", ["ProtectClock", "PrivateDevices", "DevicePolicy", "DeviceAllow"])
def test_the_unit_shuts_no_device_off(setting):
    lines = unit_text("fallow-agent").splitlines()
    assert not [line for line in lines if line.startswith(f"{setting}=")], "/dev/nvidia0 could not be opened"
