"""Processes are started again when they crash, and nothing is left when all is stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketplace.demo import supervisor as module
from marketplace.demo.processes import command_line
from marketplace.demo.supervisor import Process, Supervisor

ROOT = Path(__file__).parents[2]
SLEEPS = "import time; time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); " + SLEEPS


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    running = Supervisor(log_dir=tmp_path, environ={"GREETING": "hello"}, say=said.append)
    yield running
    running.stop()


def test_each_process_gets_both_environments_and_a_log_of_its_own(supervisor: Supervisor, tmp_path: Path) -> None:
    code = f"import os; print(os.environ['GREETING'], os.environ['NAME'], flush=True); {SLEEPS}"
    supervisor.start([Process("a", _python(code), env={"NAME": "rye"}), Process("b", _python(code), {"NAME": "oats"})])
    assert _within(10, lambda: _text(tmp_path / "a.log") == "hello rye\n")
    assert _within(10, lambda: _text(tmp_path / "b.log") == "hello oats\n")


def test_a_crashed_process_is_started_again_and_it_says_so(
    supervisor: Supervisor, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_OFF_SECONDS", (0.01, 0.02))
    mark = tmp_path / "mark"
    code = f"""
import pathlib, sys, time
mark = pathlib.Path({str(mark)!r})
mark.write_text(mark.read_text() + 'x' if mark.exists() else 'x')
sys.exit(3) if len(mark.read_text()) < 4 else time.sleep(600)
"""
    supervisor.start([Process("web", _python(code))])
    assert _ticking(supervisor, lambda: _text(mark) == "xxxx")
    assert len(said) == 3
    assert "web ended with status 3" in said[0]
    assert str(tmp_path / "web.log") in said[0]


def test_each_crash_in_a_row_is_waited_for_longer(
    supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_OFF_SECONDS", (0.01, 0.05))
    supervisor.start([Process("web", _python("raise SystemExit(1)"))])
    assert _ticking(supervisor, lambda: len(said) == 5)
    assert [line.split("again in ")[1].split(" s")[0] for line in said] == ["0.01", "0.02", "0.04", "0.05", "0.05"]


def test_a_process_is_waited_for_until_it_says_that_it_is_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    supervisor.start([Process("slow", _python(SLEEPS), ready=flag.exists), Process("quick", _python(SLEEPS))])
    assert supervisor.waiting_for() == ["slow"]
    flag.touch()
    assert supervisor.waiting_for() == []
    flag.unlink()
    assert supervisor.waiting_for() == []  # it is asked until the first yes


def test_stop_kills_what_ignores_it_and_the_children_of_what_is_gone(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.3)
    mother = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid, flush=True)"
    supervisor.start(
        [Process("stubborn", _python(STUBBORN)), Process("mother", _python(f"{mother}; {SLEEPS}"))],
    )
    assert _within(10, lambda: _text(tmp_path / "stubborn.log") == "on\n" and _text(tmp_path / "mother.log") != "")
    child = int(_text(tmp_path / "mother.log"))
    assert command_line(child)
    supervisor.stop()
    assert _within(5, lambda: SLEEPS not in command_line(child))


def test_what_a_process_left_in_a_session_of_its_own_ends_as_well() -> None:
    if sys.platform != "linux":
        pytest.skip("orphans can be adopted on Linux alone")

    code = f"""
import subprocess, sys
from marketplace.demo import orphans
orphans.adopt()
leave = '''
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {SLEEPS!r}], start_new_session=True).pid)
'''
subprocess.run([sys.executable, "-c", leave], check=True)
print(orphans.end_all())
"""
    done = subprocess.run(_python(code), cwd=ROOT, capture_output=True, text=True, check=True)
    left, ended = done.stdout.split()
    assert (ended, command_line(int(left))) == ("1", "")


def test_processes_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("a death signal exists on Linux alone")
    code = f"""
import pathlib, sys, time
from marketplace.demo.supervisor import Process, Supervisor
supervisor = Supervisor(log_dir=pathlib.Path({str(tmp_path)!r}), environ={{}})
report = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
supervisor.start([Process("web", [sys.executable, "-c", report])])
time.sleep(600)
"""
    killed = subprocess.Popen(_python(code), cwd=ROOT)
    assert _within(10, lambda: _text(tmp_path / "web.log") != "")
    web = int(_text(tmp_path / "web.log"))
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert _within(5, lambda: not command_line(web))


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _ticking(supervisor: Supervisor, condition: Callable[[], bool]) -> bool:
    def tick_and_ask() -> bool:
        supervisor.tick()
        return condition()

    return _within(15, tick_and_ask)
