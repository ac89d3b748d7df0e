"""What tests have counted, told at the end of the run: what a test that passes prints is seen by nobody."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.stripesim import FAULTED, JUDGED

TOLD = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is told yet."""
    config.stash[TOLD] = []


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Say a line at the end of the run."""
    return pytestconfig.stash[TOLD].append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What one process has to tell goes to the one that started it."""
    if hasattr(session.config, "workeroutput"):
        its = {"told": session.config.stash[TOLD], "judged": dict(JUDGED), "faulted": sorted(FAULTED)}
        session.config.workeroutput |= its


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """A process has ended: one that was killed tells nothing."""
    its = getattr(node, "workeroutput", {})
    node.config.stash[TOLD] += its.get("told", [])  # type: ignore[attr-defined]
    JUDGED.update(its.get("judged", {}))
    FAULTED.update(its.get("faulted", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was told, and how the simulated Stripe did."""
    lines = sorted(terminalreporter.config.stash[TOLD]) + _about_stripe(terminalreporter)
    if lines:
        terminalreporter.section("what was counted")
        for line in lines:
            terminalreporter.write_line(line)


def _about_stripe(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """Nothing where no test asked it anything."""
    if not JUDGED:
        return []
    ran = {
        report.nodeid: outcome
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    }
    kinds = {
        "conformance": [each for each in ran if each.startswith("tests/marketplace/payments/stripesim/")],
        "contract": [each for each in ran if each.startswith("tests/contract/")],
        "fault": [each for each in ran if each in FAULTED],
    }
    lines = [
        f"Stripe, simulated: {sum(ran[each] == 'passed' for each in tests)} of {len(tests)} {kind} tests passed"
        for kind, tests in kinds.items()
    ]
    lines.append(f"Stripe, simulated: {JUDGED['validated']} requests and answers validated, drift {JUDGED['drift']}")
    if not os.environ.get("STRIPE_TEST_KEY"):
        lines.append("never run against Stripe: STRIPE_TEST_KEY is not set")
    return lines
