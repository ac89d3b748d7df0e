"""`fallow-agent measure`: measure this host's cards and hand their passports in."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pynvml

from nodes.agent.config import Config
from nodes.agent.link import Link
from nodes.agent.measure.cuda import Cuda, CudaError
from nodes.agent.measure.document import Bench, cards_of_host, measure
from nodes.agent.nvml_calls import Signal, attempt
from nodes.agent.passport import ChallengeRequest
from nodes.agent.service import route_of
from nodes.agent.state import StateDir, StateError


def run(config: Config, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Each card in turn; 1 when one could not be measured."""
    state = StateDir(config.state_dir)
    enrolment = state.enrolment()
    if enrolment is None:
        raise StateError("this host is not enrolled")
    link = Link(enrolment, state.key(), route_of(config), server_url=config.server_url)
    try:
        bench = _bench(config, state, enrolment.node, is_quick=options.quick, say=say)
        pynvml.nvmlInit()
        wanted = [options.card] if options.card else cards_of_host()
        _check_free(wanted)
        for uuid in wanted:
            say(f"{uuid}: measuring as {options.role}")
            challenge = link.ask_challenge(ChallengeRequest(uuid, options.role, options.sale))
            reply = link.send_passport(measure(bench, uuid, challenge))
            say(f"{uuid}: {reply.id}, {reply.tier}, grade {reply.function_grade}")
            say(f"  findings: {', '.join(reply.findings) or 'none'}")
            if reply.url:
                say(f"  sha256 {reply.sha256}, good until {reply.expires_at}")
                say(f"  {reply.url}")
    except pynvml.NVMLError as error:
        raise StateError(f"the driver does not answer: {error}") from error
    finally:
        attempt(Signal("nvmlShutdown"))
        link.close()
    return 0


def _check_free(wanted: list[str]) -> None:
    """A card that somebody works on is left alone: the tests would take its memory and its clocks."""
    known = cards_of_host()
    for uuid in wanted:
        if uuid not in known:
            raise StateError(f"this host has no card {uuid}")
        handle = pynvml.nvmlDeviceGetHandleByIndex(known.index(uuid))
        if attempt(Signal("nvmlDeviceGetComputeRunningProcesses", handle)):
            raise StateError(f"{uuid} is at work: measure it when nothing runs on it")


def _bench(config: Config, state: StateDir, node: str, *, is_quick: bool, say: Callable[[str], None]) -> Bench:
    if config.simulator is not None:
        return _simulated_bench(config.simulator, state, node, is_quick=is_quick, say=say)
    cuda, why_not = _real_cuda()
    return Bench(Path("/"), node, state.key(), cuda, why_not, is_quick=is_quick, say=say)


def _real_cuda() -> tuple[Cuda | None, str]:
    from nodes.agent.measure.driver_api import DriverApi  # noqa: PLC0415 - a host without a card has no use for it

    try:
        return DriverApi(), ""
    except CudaError as error:
        return None, str(error)


def _simulated_bench(path: Path, state: StateDir, node: str, *, is_quick: bool, say: Callable[[str], None]) -> Bench:
    from nodes.agent import simulator  # noqa: PLC0415 - a host with cards has no use for it
    from nodes.agent.measure.simulated import SimulatedCuda, write_host  # noqa: PLC0415

    library = simulator.install(path)
    root = state.folder / "simulated-host"
    write_host(root, library.fleet.cards, library.fleet.driver)
    cuda = SimulatedCuda(lambda: library.fleet.cards, is_quick=is_quick)
    return Bench(root, node, state.key(), cuda, is_simulated=True, is_quick=is_quick, say=say)
