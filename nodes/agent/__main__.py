"""`fallow-agent`: the command of an owner's host."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nodes.agent.client import Refused, Unreachable
from nodes.agent.config import Config, ConfigError, checked_url, load_config
from nodes.agent.host import inventory_of
from nodes.agent.link import enrol
from nodes.agent.measure.options import add_arguments as add_measure_arguments
from nodes.agent.protocol import FailureReason, ProtocolError
from nodes.agent.service import reader_of, route_of, run_agent
from nodes.agent.state import StateDir, StateError
from nodes.agent.version import VERSION
from nodes.agent.workloads import open_workloads
from nodes.agent.workloads.opening import running_leases
from nodes.agent.workloads.runtime import RuntimeFailure

STOP_SECONDS_MAX = 120
FAILURES = (ConfigError, StateError, Unreachable, Refused, ProtocolError)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 well, 1 a problem that the last line names, 2 a wrong command line."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    action: Callable[[Config, argparse.Namespace], int] = options.action
    try:
        return action(load_config(), options)
    except FAILURES as error:
        print(f"fallow-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fallow-agent", description="Offers this host's idle GPUs on Fallow.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    joining = commands.add_parser("enrol", help="join a fleet")
    joining.add_argument("--server", required=True, help="https://…")
    token = joining.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="from the fleet page; good for a short while; - reads it from stdin")
    token.add_argument("--token-file", type=Path, metavar="FILE", help="where the token is, instead of --token")
    joining.add_argument("--name", help="what the fleet page calls this host; its hostname by default")
    joining.set_defaults(action=_enrol)
    draining = commands.add_parser("drain", help="take no new lease; running ones go on")
    draining.add_argument("--off", action="store_true", help="take leases again")
    draining.set_defaults(action=_drain)
    measuring = commands.add_parser("measure", help="measure cards and hand their passports in")
    add_measure_arguments(measuring)
    measuring.set_defaults(action=_measure)
    plain: dict[str, tuple[Callable[[Config, argparse.Namespace], int], str]] = {
        "run": (_run, "report and run leases; what the service starts"),
        "status": (_status, "what the running agent sees, as JSON"),
        "doctor": (_doctor, "check this host and say what to do"),
        "stop-now": (_stop_now, "end every lease at once and take no new one"),
        "install": (_install, "set up the systemd service"),
        "uninstall": (_uninstall, "remove the systemd service; refuses while leases run"),
    }
    for name, (action, text) in plain.items():
        commands.add_parser(name, help=text).set_defaults(action=action)
    return parser


def _enrol(config: Config, options: argparse.Namespace) -> int:
    token = _token(options)
    state = StateDir(config.state_dir)
    state.create()
    if options.name:
        state.keep_name(options.name)
    reader = reader_of(config)
    snapshot = reader.read(lambda _: False)
    reader.close()
    runtime = open_workloads(config, lambda: None).runtime
    inventory = inventory_of(snapshot, runtime=runtime, state=state)
    server = checked_url(options.server, "--server")
    reply = enrol(server, token, state.key(), inventory, route_of(config))
    state.keep_enrolment(reply)
    _say(f"enrolled as {reply.node} with {len(inventory.cards)} cards; next: fallow-agent install")
    return 0


def _token(options: argparse.Namespace) -> str:
    """Anybody on the host reads the list of processes, so it may come from a file or stdin."""
    try:
        if options.token_file is not None:
            text = options.token_file.read_text()
        else:
            text = sys.stdin.read() if options.token == "-" else options.token  # noqa: S105 - the name of stdin
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"the token can't be read: {error}") from error
    if not text.strip():
        raise StateError("the token is empty")
    return str(text.strip())


def _run(config: Config, _: argparse.Namespace) -> int:
    run_agent(config)
    return 0


def _status(config: Config, _: argparse.Namespace) -> int:
    status = StateDir(config.state_dir).status()
    if status is None:
        raise StateError("the agent has not run yet")
    _say(json.dumps(status, indent=2))
    return 1 if status.get("problem") else 0


def _doctor(config: Config, _: argparse.Namespace) -> int:
    from nodes.agent import doctor  # noqa: PLC0415 - `run` starts faster without it

    findings = doctor.examine(config)
    for each in findings:
        _say(f"{'ok  ' if each.good else 'FAIL'} {each.name}: {each.detail}")
    return 0 if all(each.good for each in findings) else 1


def _drain(config: Config, options: argparse.Namespace) -> int:
    _enrolled(config).set_draining(not options.off)
    _say("takes leases again" if options.off else "takes no new lease")
    return 0


def _measure(config: Config, options: argparse.Namespace) -> int:
    from nodes.agent.measure import command  # noqa: PLC0415 - `run` starts faster without it

    return command.run(config, options, _say)


def _stop_now(config: Config, _: argparse.Namespace) -> int:
    state = _enrolled(config)
    state.ask_stop_now()
    if state.lock():  # no agent runs, but leases may: they outlive it
        _stop_leases(config)
        state.take_stop_now()
    _say("every lease ends now; `fallow-agent drain --off` to take leases again")
    return 0


def _stop_leases(config: Config) -> None:
    workloads = open_workloads(config, lambda: None)
    workloads.recover()
    workloads.stop_all(FailureReason.OWNER_STOPPED)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while not workloads.ready or workloads.statuses():
        if time.monotonic() > deadline:
            what = "leases still run" if workloads.ready else "the engine can't be asked whether leases run"
            raise StateError(f"{what} after {STOP_SECONDS_MAX} s: stop their containers by hand")
        time.sleep(0.2)


def _install(_config: Config, _: argparse.Namespace) -> int:
    from nodes.agent import unit  # noqa: PLC0415 - `run` starts faster without it

    unit.install()
    return 0


def _uninstall(config: Config, _: argparse.Namespace) -> int:
    from nodes.agent import unit  # noqa: PLC0415 - `run` starts faster without it

    try:
        leases = running_leases(config)
    except RuntimeFailure as failure:
        raise StateError(f"whether leases run can't be asked: {failure.detail}") from failure
    if leases:
        advice = "run `fallow-agent stop-now`, and uninstall when `fallow-agent status` shows none"
        raise StateError(f"{', '.join(leases)} would go on with nobody to end them: {advice}")
    unit.uninstall()
    return 0


def _enrolled(config: Config) -> StateDir:
    state = StateDir(config.state_dir)
    if state.enrolment() is None:
        raise StateError("this host is not enrolled")
    return state


def _say(line: str) -> None:
    print(line)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
