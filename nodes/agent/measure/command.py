"""`fallow-agent measure`: measure this host's cards and hand their passports in."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pynvml

from nodes.agent.client import Refused
from nodes.agent.config import Config
from nodes.agent.link import Link
from nodes.agent.measure.cuda import Cuda, CudaError
from nodes.agent.measure.document import Bench, cards_of_host, measure
from nodes.agent.nvml_calls import Signal, attempt
from nodes.agent.passport import ChallengeRequest, PassportReply
from nodes.agent.processes import pids_on
from nodes.agent.service import route_of
from nodes.agent.state import StateDir, StateError


def run(config: Config, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Each card in turn; 1 when one could not be measured. The others are measured even so."""
    state = StateDir(config.state_dir)
    enrolment = state.enrolment()
    if enrolment is None:
        raise StateError("this host is not enrolled")
    link = Link(enrolment, state.key(), route_of(config), server_url=config.server_url)
    try:
        bench = _bench(config, state, enrolment.node, is_quick=options.quick, say=say)
        pynvml.nvmlInit()
        wanted = [options.card] if options.card else cards_of_host()
        measured = [_is_measured(bench, link, uuid, options, say) for uuid in wanted]
    except pynvml.NVMLError as error:
        raise StateError(f"the driver does not answer: {error}") from error
    finally:
        attempt(Signal("nvmlShutdown"))
        link.close()
    return 0 if all(measured) else 1


def _is_measured(bench: Bench, link: Link, uuid: str, options: argparse.Namespace, say: Callable[[str], None]) -> bool:
    try:
        _check_free(uuid)
        say(f"{uuid}: measuring as {options.role}")
        challenge = link.ask_challenge(ChallengeRequest(uuid, options.role, options.sale))
        _tell(uuid, link.send_passport(measure(bench, uuid, challenge)), say)
    except (StateError, Refused) as error:
        print(f"fallow-agent: {uuid}: {error}", file=sys.stderr)  # noqa: T201
        return False
    return True


def _tell(uuid: str, reply: PassportReply, say: Callable[[str], None]) -> None:
    say(f"{uuid}: {reply.id}, {reply.tier}, grade {reply.function_grade}")
    say(f"  findings: {', '.join(reply.findings) or 'none'}")
    if reply.url:
        say(f"  sha256 {reply.sha256}, good until {reply.expires_at}")
        say(f"  {reply.url}")


def _check_free(uuid: str) -> None:
    """A card that somebody works on is left alone: the tests would take its memory and its clocks.

    Looked at before each card: the tests of the one before take a third of an hour.
    """
    known = cards_of_host()
    if uuid not in known:
        raise StateError(f"this host has no card {uuid}")
    if pids_on(pynvml.nvmlDeviceGetHandleByIndex(known.index(uuid))):
        raise StateError("it is at work: measure it when nothing runs on it")


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
