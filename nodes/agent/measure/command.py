"""`fallow-agent measure`: measure this host's cards and hand their passports in."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
from nacl.signing import SigningKey

from nodes.agent.client import Backoff, Refused, Unreachable
from nodes.agent.config import Config
from nodes.agent.link import Link
from nodes.agent.measure.cuda import Cuda, CudaError
from nodes.agent.measure.document import Bench, cards_of_host, found_card, measure
from nodes.agent.nvml_calls import Signal, attempt
from nodes.agent.passport import ChallengeRequest, PassportReply
from nodes.agent.processes import pids_on
from nodes.agent.protocol import ProtocolError
from nodes.agent.service import route_of
from nodes.agent.state import StateDir, StateError

SENDINGS = 8  # with the pauses between them a few minutes; the market waits for half an hour


def run(config: Config, options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Each card in turn; 1 when one could not be measured. The others are measured even so."""
    state = StateDir(config.state_dir)
    enrolment = state.enrolment()
    if enrolment is None:
        raise StateError("this host is not enrolled")
    link = Link(enrolment, state.key(), route_of(config), server_url=config.server_url)
    try:
        key, is_quick = state.key(), bool(options.quick)
        bench = open_bench(config.simulator, state.folder, enrolment.node, key, is_quick=is_quick, say=say)
        pynvml.nvmlInit()
        measured = [_is_measured(bench, link, uuid, options, say) for uuid in _wanted(options)]
        has_broken = not options.card and len(cards_of_host()) < pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        raise StateError(f"the driver does not answer: {error}") from error
    finally:
        attempt(Signal("nvmlShutdown"))
        link.close()
    if has_broken:
        _complain("a card of this host does not answer: see `fallow-agent status`")
    return 0 if measured and all(measured) and not has_broken else 1


def _wanted(options: argparse.Namespace) -> list[str]:
    """A sale is about one card: what another one of this host is would be taken for what came in the box."""
    if options.card:
        return [options.card]
    known = list(cards_of_host())
    if options.sale and len(known) > 1:
        raise StateError(f"say with --card which of these the sale is about: {', '.join(known)}")
    if not known:
        _complain("this host has no card that answers")
    return known


def _is_measured(bench: Bench, link: Link, uuid: str, options: argparse.Namespace, say: Callable[[str], None]) -> bool:
    try:
        check_free(uuid)
        say(f"{uuid}: measuring as {options.role}")
        challenge = link.ask_challenge(ChallengeRequest(uuid, options.role, options.sale))
        post = measure(bench, uuid, challenge)
        _tell(uuid, patiently(lambda: link.send_passport(post)), say)
    except (StateError, Refused, Unreachable, ProtocolError, pynvml.NVMLError) as error:
        _complain(f"{uuid}: {error}")
    else:
        return True
    return False


def patiently(send: Callable[[], PassportReply], *, wait: Callable[[float], None] = time.sleep) -> PassportReply:
    """Hand it in; what took a third of an hour to measure is not thrown away because the line was down for a minute."""
    backoff = Backoff()
    for _ in range(SENDINGS - 1):
        try:
            return send()
        except Unreachable:
            wait(backoff.failed())
    return send()


def _complain(what: str) -> None:
    print(f"fallow-agent: {what}", file=sys.stderr)  # noqa: T201


def _tell(uuid: str, reply: PassportReply, say: Callable[[str], None]) -> None:
    say(f"{uuid}: {reply.id}, {reply.tier}, grade {reply.function_grade}")
    say(f"  findings: {', '.join(reply.findings) or 'none'}")
    if reply.url:
        say(f"  sha256 {reply.sha256}, good until {reply.expires_at}")
        say(f"  {reply.url}")


def check_free(uuid: str) -> None:
    """A card that somebody works on is left alone: the tests would take its memory and its clocks.

    Looked at before each card: the tests of the one before take a third of an hour.
    """
    _, handle = found_card(uuid)
    if pids_on(handle):
        raise StateError("it is at work: measure it when nothing runs on it")


def open_bench(
    simulator: Path | None, folder: Path, node: str, key: SigningKey, *, is_quick: bool, say: Callable[[str], None]
) -> Bench:
    """This host with whatever CUDA it has, or a scripted one whose files are written to `folder`."""
    if simulator is not None:
        return _simulated_bench(simulator, folder / "simulated-host", node, key, is_quick=is_quick, say=say)
    cuda, why_not = _real_cuda()
    return Bench(Path("/"), node, key, cuda, why_not, is_quick=is_quick, say=say)


def _real_cuda() -> tuple[Cuda | None, str]:
    from nodes.agent.measure.driver_api import DriverApi  # noqa: PLC0415 - a host without a card has no use for it

    try:
        return DriverApi(), ""
    except CudaError as error:
        return None, str(error)


def _simulated_bench(
    path: Path, root: Path, node: str, key: SigningKey, *, is_quick: bool, say: Callable[[str], None]
) -> Bench:
    from nodes.agent import simulator  # noqa: PLC0415 - a host with cards has no use for it
    from nodes.agent.measure.simulated import SimulatedCuda, write_host  # noqa: PLC0415

    library = simulator.install(path)
    write_host(root, library.fleet.cards, library.fleet.driver)
    cuda = SimulatedCuda(lambda: library.fleet.cards, is_quick=is_quick)
    return Bench(root, node, key, cuda, is_simulated=True, is_quick=is_quick, say=say)
