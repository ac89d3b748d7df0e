"""Runs the simulator: `python -m marketplace.payments.stripesim --port N --data FILE`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from marketplace.payments.stripesim import operations
from marketplace.payments.stripesim.control import coverage
from marketplace.payments.stripesim.http import LOOPBACK, Server
from marketplace.payments.stripesim.operations.webhook_endpoints import new_endpoint
from marketplace.payments.stripesim.protocol.errors import ApiError
from marketplace.payments.stripesim.protocol.specification import Specification
from marketplace.payments.stripesim.server import Simulator
from marketplace.payments.stripesim.world import World

TICK_S = 0.1


def main() -> None:
    """Serves until SIGTERM or SIGINT; the last line tells how many answers were judged."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.payments.stripesim", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--data", type=Path, help="where the state is kept; without it, in memory alone")
    parser.add_argument("--webhook", help="an endpoint for all events, on this machine")
    parser.add_argument("--webhook-secret", help="the secret that they are signed with")
    parser.add_argument("--ready", type=Path, help="a file to write the address to, once it answers")
    given = parser.parse_args()
    operations.load()
    specification = Specification()
    world = World(given.data, api_version=specification.api_version, public_url="")
    simulator = Simulator(world, specification)
    server = Server(given.port, simulator)
    world.public_url = f"http://{LOOPBACK}:{server.server_port}"
    if given.webhook:
        _endpoints(world, given.webhook, given.webhook_secret or "whsec_simulated")
    _serve(server, simulator, given.ready)


def _endpoints(world: World, url: str, secret: str) -> None:
    """One endpoint for the platform's events and one for those of connected accounts, unless they are there."""
    with world.transaction():
        known = {each["_connect"] for each in world.store.of_kind("webhook_endpoint") if each["url"] == url}
        for connect in {False, True} - known:
            new_endpoint(world, url, ["*"], connect=connect, secret=secret, version=None)


def _serve(server: Server, simulator: Simulator, ready: Path | None) -> None:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    threading.Thread(target=server.serve_forever, args=(TICK_S,), daemon=True).start()
    simulator.deliveries.start()
    say(f"Stripe is simulated at {simulator.world.public_url}, keys begin with sk_test_")
    covered = coverage(simulator)
    say(f"{covered['count']} of the SDK's {covered['of']} operations; the others answer 501")
    if ready:
        ready.write_text(simulator.world.public_url)
    while not stopping.wait(TICK_S):
        try:
            simulator.world.run_due()
        except ApiError as drift:
            say(f"a job failed: {drift}")
    server.shutdown()
    simulator.deliveries.stop()
    simulator.world.store.close()
    say(json.dumps({"validated": simulator.counts["validated"], "drift": len(simulator.drifts)}))


def say(line: str) -> None:
    """A line for whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
