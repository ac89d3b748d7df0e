"""What tests have counted, told at the end of the run: what a test that passes prints is seen by nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

TOLD = pytest.StashKey[list[str]]()
TALLY = pytest.StashKey[Counter[str]]()
COUNTED = {
    "conformance of the simulator": ("tests/marketplace/payments/stripesim/",),
    "contract of the gateways": ("tests/contract/",),
    "faults around gateways": (
        "tests/marketplace/payments/test_outbox.py",
        "tests/marketplace/payments/test_inbox.py",
        "tests/marketplace/payments/test_trials.py",
    ),
}


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is told yet."""
    config.stash[TOLD], config.stash[TALLY] = [], Counter()


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Say a line at the end of the run."""
    return pytestconfig.stash[TOLD].append


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Counter[str]:
    """Sums over all tests for the end of the run."""
    return pytestconfig.stash[TALLY]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What one process has to tell goes to the one that started it."""
    if hasattr(session.config, "workeroutput"):
        stash = session.config.stash
        session.config.workeroutput |= {"told": stash[TOLD], "tally": dict(stash[TALLY])}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """A process has ended: one that was killed tells nothing."""
    stash, its = node.config.stash, getattr(node, "workeroutput", {})  # type: ignore[attr-defined]
    stash[TOLD] += its.get("told", [])
    stash[TALLY].update(its.get("tally", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Once each, in the order of the alphabet: every process says what it has not got."""
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", []) if report.when == "call"]
    counts = [f"{what}: {_count(passed, under)} passed" for what, under in COUNTED.items() if _count(passed, under)]
    sums = [f"{what}: {count}" for what, count in terminalreporter.config.stash[TALLY].items()]
    lines = [*sorted(set(terminalreporter.config.stash[TOLD])), *counts, *sums]
    if lines:
        terminalreporter.section("what was counted")
        for line in lines:
            terminalreporter.write_line(line)


def _count(nodeids: Iterable[str], under: tuple[str, ...]) -> int:
    return sum(nodeid.startswith(under) for nodeid in nodeids)
