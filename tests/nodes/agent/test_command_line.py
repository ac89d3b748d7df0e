"""`fallow-agent` as an owner calls it, on a scripted fleet, against a server on loopback."""

from __future__ import annotations

import io
import socket
from dataclasses import replace

import pytest

from nodes.agent import simulator
from nodes.agent.__main__ import main
from nodes.agent.config import load_config
from nodes.agent.protocol import ENROL_PATH, Ack, EnrolRequest, Phase, RelayEndpoint, decode, encode
from nodes.agent.state import StateDir
from nodes.agent.workloads.opening import running_leases
from nodes.agent.workloads.store import LeaseStore, Record
from tests.nodes.agent.conftest import command


@pytest.fixture
def call(tmp_path, monkeypatch, fleet, server, enrolment):
    monkeypatch.setenv("FALLOW_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FALLOW_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("FALLOW_SIMULATOR", str(fleet.path))
    monkeypatch.setenv("FALLOW_RUNTIME", "none")
    server.answers[ENROL_PATH] = (201, {}, encode(enrolment))
    yield lambda *arguments: main(arguments)
    simulator.remove()


def test_enrolling_is_unattended_and_can_be_repeated_with_the_same_key(call, server, tmp_path, capsys):
    for _ in range(2):
        assert call("enrol", "--server", server.url, "--token", "fet_x", "--name", "rack 7") == 0
    first, second = (decode(EnrolRequest, body) for body in server.bodies(ENROL_PATH))
    assert first.public_key == second.public_key
    assert (first.token, first.inventory.hostname, len(first.inventory.cards)) == ("fet_x", "rack 7", 2)
    assert "enrolled as node_test" in capsys.readouterr().out
    assert StateDir(tmp_path / "state").enrolment().node == "node_test"


def test_the_token_need_not_be_in_the_list_of_processes(call, server, tmp_path, monkeypatch, capsys):
    (tmp_path / "token").write_text("fet_file\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("fet_stdin\n"))
    assert call("enrol", "--server", server.url, "--token-file", str(tmp_path / "token")) == 0
    assert call("enrol", "--server", server.url, "--token", "-") == 0
    assert [decode(EnrolRequest, body).token for body in server.bodies(ENROL_PATH)] == ["fet_file", "fet_stdin"]
    assert call("enrol", "--server", server.url, "--token-file", str(tmp_path / "none")) == 1
    assert "the token can't be read" in capsys.readouterr().err


def test_a_refused_token_is_said_in_one_line(call, server, tmp_path, capsys):
    server.answers[ENROL_PATH] = (403, {}, b'{"detail": "this token has expired"}')
    assert call("enrol", "--server", server.url, "--token", "fet_x") == 1
    assert "this token has expired" in capsys.readouterr().err
    assert StateDir(tmp_path / "state").enrolment() is None


def test_a_host_that_is_not_enrolled_is_told_how(call, capsys):
    for name in ("run", "drain", "stop-now"):
        assert call(name) == 1
        assert "not enrolled" in capsys.readouterr().err


def test_draining_is_set_and_taken_back(call, server, tmp_path):
    call("enrol", "--server", server.url, "--token", "fet_x")
    state = StateDir(tmp_path / "state")
    call("drain")
    assert state.draining
    call("drain", "--off")
    assert not state.draining


def test_the_doctor_names_what_is_wrong(call, fleet, capsys):
    fleet.change(0, remap_failed=True)
    assert call("doctor") == 1
    said = capsys.readouterr().out
    assert "ROW_REMAP_FAILED" in said and "run fallow-agent enrol" in said


def test_the_doctor_compares_the_clock_with_the_servers(call, server, capsys):
    call("enrol", "--server", server.url, "--token", "fet_x")
    call("doctor")
    assert "ok   clock: as the server's" in capsys.readouterr().out


def test_the_doctor_names_each_program_that_is_missing_and_tries_the_relay(call, tmp_path, monkeypatch, capsys):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [each.getsockname()[1] for each in (listening, closed)]
        closed.close()
        relays = [RelayEndpoint("127.0.0.1", port, "ssh-ed25519 AAAA", 4000, "lease_1") for port in ports]
        wanted = replace(command(), relays=relays)
        LeaseStore(tmp_path / "state/leases").save(Record(wanted, Phase.RUNNING, "boot"))
        assert call("doctor") == 1
    said = capsys.readouterr().out
    assert "FAIL runtime: FALLOW_RUNTIME=none" in said
    assert "FAIL ssh: buyers are reached through it: install openssh-client" in said
    assert "FAIL nft: no lease without a firewall: install nftables" in said
    assert f"ok   relay: 127.0.0.1:{ports[0]} answers" in said
    assert f"FAIL relay: 127.0.0.1:{ports[1]}" in said


def test_stop_now_works_without_a_running_agent(call, server, tmp_path):
    call("enrol", "--server", server.url, "--token", "fet_x")
    state = StateDir(tmp_path / "state")
    assert call("stop-now") == 0
    assert state.draining and not state.take_stop_now()


def test_stop_now_leaves_a_wish_for_the_running_agent(call, server, tmp_path):
    call("enrol", "--server", server.url, "--token", "fet_x")
    state = StateDir(tmp_path / "state")
    assert state.lock()
    assert call("stop-now") == 0
    assert state.take_stop_now()


def test_the_service_is_not_removed_under_running_leases(call, tmp_path, capsys):
    store = LeaseStore(tmp_path / "state/leases")
    record = Record(command(), Phase.RUNNING, "boot")
    store.save(record)
    assert call("uninstall") == 1
    said = capsys.readouterr().err
    assert "lease_1" in said and "fallow-agent stop-now" in said
    store.finish(record, Ack("asg_1", "lease_1", {}, Phase.STOPPED, 1, 1, 1))
    assert running_leases(load_config()) == []


def test_two_agents_do_not_share_a_folder(call, server, tmp_path, capsys):
    call("enrol", "--server", server.url, "--token", "fet_x")
    assert StateDir(tmp_path / "state").lock()
    assert call("run") == 1
    assert "another agent" in capsys.readouterr().err
