"""The state folder, and the settings that point to it."""

from __future__ import annotations

import socket
import stat

import pytest

from nodes.agent.config import ConfigError, load_config
from nodes.agent.gpu import Snapshot
from nodes.agent.host import inventory_of
from nodes.agent.state import CardEpoch, StateDir, StateError


@pytest.fixture
def state(tmp_path):
    made = StateDir(tmp_path / "state")
    made.create()
    return made


def test_the_key_is_made_once_and_is_the_owners_alone(state):
    first = bytes(state.key())
    assert bytes(StateDir(state.folder).key()) == first
    for path in (state.folder, state.folder / "node.key"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_every_start_has_a_higher_number(state):
    assert [StateDir(state.folder).next_run() for _ in range(3)] == [1, 2, 3]


def test_a_damaged_run_counter_stops_the_agent_with_advice(state):
    (state.folder / "run").write_text("x")
    with pytest.raises(StateError, match="damaged"):
        state.next_run()


def test_epochs_and_enrolment_outlive_the_process(state, enrolment):
    state.keep_epochs({"GPU-a": CardEpoch(4, "lease_1")})
    state.keep_enrolment(enrolment)
    again = StateDir(state.folder)
    assert again.epochs() == {"GPU-a": CardEpoch(4, "lease_1")}
    assert again.enrolment() == enrolment


def test_a_full_disk_stops_neither_a_start_nor_the_fence(small_disk):
    state = StateDir(small_disk.path)
    state.next_run()
    state.keep_epochs({"GPU-a": CardEpoch(4, "lease_1")})
    small_disk.fill()
    assert [StateDir(small_disk.path).next_run() for _ in range(2)] == [2, 3]
    state.keep_epochs({"GPU-a": CardEpoch(5, "lease_1"), "GPU-b": CardEpoch(1, "lease_2")})
    assert StateDir(small_disk.path).epochs()["GPU-b"] == CardEpoch(1, "lease_2")


def test_files_of_an_earlier_version_are_read_and_rewritten_on_a_full_disk(small_disk):
    (small_disk.path / "run").write_text("41")
    (small_disk.path / "epochs.json").write_text('{"GPU-a": {"epoch": 4, "lease": "lease_1"}}')
    small_disk.fill()
    state = StateDir(small_disk.path)
    assert state.next_run() == 42
    state.keep_epochs({"GPU-a": CardEpoch(5, "lease_2")})
    assert state.epochs() == {"GPU-a": CardEpoch(5, "lease_2")}


def test_a_wish_to_stop_is_taken_once(state):
    state.ask_stop_now()
    assert [state.take_stop_now(), state.take_stop_now()] == [True, False]
    assert state.draining


@pytest.mark.parametrize(
    "env",
    [
        {"FALLOW_STATE_DIR": "relative"},
        {"FALLOW_SERVER": "http://fallow.example"},
        {"FALLOW_CA_FILE": "/nonexistent.pem"},
        {"HTTPS_PROXY": "socks5://proxy"},
        {"HTTPS_PROXY": "http://proxy:port"},
        {"FALLOW_RUNTIME": "magic"},
        {"FALLOW_SPOOL_MIB": "0"},
    ],
    ids=lambda env: next(iter(env)),
)
def test_a_wrong_setting_is_named(env):
    with pytest.raises(ConfigError, match=next(iter(env))):
        load_config(env)


def test_a_wrong_proxy_is_named_without_its_password():
    with pytest.raises(ConfigError) as caught:
        load_config({"HTTPS_PROXY": "https://me:sec@ret@proxy.example:3128"})
    assert "proxy.example:3128" in str(caught.value)
    assert "sec" not in str(caught.value) and "ret" not in str(caught.value)


def test_the_owners_name_for_a_host_goes_into_its_inventory(state):
    assert inventory_of(Snapshot(), runtime="none", state=state).hostname == socket.gethostname()
    state.keep_name("Büro 3")
    assert inventory_of(Snapshot(), runtime="none", state=state).hostname == "Büro 3"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101], ids=["empty", "two lines", "too long"])
def test_a_name_that_no_page_could_show_is_refused(state, name):
    with pytest.raises(StateError, match="printable"):
        state.keep_name(name)
