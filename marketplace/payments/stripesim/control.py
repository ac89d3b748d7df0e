"""/_sim: the simulator's own switches, which Stripe has not. JSON in, JSON out, no key.

GET  /_sim/status        counts, coverage, the clock
POST /_sim/clock         {"advance": seconds} and {"frozen": true or false}; does what falls due
GET  /_sim/faults        settings and how often each fault struck
POST /_sim/faults        other settings; see faults.py
POST /_sim/payout        {"currency": "usd"}: an automatic payout of all that the platform has
POST /_sim/authenticate  {"intent": "pi_… or seti_…", "yes": true}: the holder's answer without a browser
POST /_sim/onboard       {"account": "acct_…", "outcome": …}: the seller's answers without a browser
"""

from __future__ import annotations

from typing import Any

import msgspec

from marketplace.payments.stripesim.faults import Faults
from marketplace.payments.stripesim.operations import checkout, onboarding, payouts
from marketplace.payments.stripesim.operations.table import TABLE
from marketplace.payments.stripesim.protocol.errors import ApiError, invalid
from marketplace.payments.stripesim.protocol.shown import shown
from marketplace.payments.stripesim.server import Answer, Request, Simulator


def handle(simulator: Simulator, request: Request) -> Answer:
    """The answer to a request under /_sim."""
    routes = {
        ("GET", "/_sim/status"): _status,
        ("POST", "/_sim/clock"): _clock,
        ("GET", "/_sim/faults"): _faults,
        ("POST", "/_sim/faults"): _set_faults,
        ("POST", "/_sim/payout"): _payout,
        ("POST", "/_sim/authenticate"): _authenticate,
        ("POST", "/_sim/onboard"): _onboard,
    }
    chosen = routes.get((request.method, request.path))
    try:
        if chosen is None:
            raise ApiError(404, "invalid_request_error", "The simulator has no such switch.")
        given = msgspec.json.decode(request.body or b"{}", type=dict[str, Any])
        return Answer(200, msgspec.json.encode(chosen(simulator, given)))
    except ApiError as refusal:
        return Answer(refusal.status, msgspec.json.encode(refusal.body()))
    except (KeyError, TypeError, ValueError) as wrong:
        return Answer(400, msgspec.json.encode(invalid(f"Not understood: {wrong}").body()))


def coverage(simulator: Simulator) -> dict[str, Any]:
    """Which of the SDK's operations are simulated."""
    return {"implemented": sorted(TABLE), "count": len(TABLE), "of": len(simulator.specification.operations)}


def _status(simulator: Simulator, _: dict[str, Any]) -> dict[str, Any]:
    specification = simulator.specification
    return {
        "sdk": specification.sdk_version, "api_version": specification.api_version,
        "now": simulator.world.clock.now(), "next_due": simulator.world.next_due(),
        "counts": dict(simulator.counts), "drift": len(simulator.drifts), "drifts": simulator.drifts[:20],
        "deliveries": dict(simulator.deliveries.counts), "deliveries_idle": simulator.deliveries.idle(),
        "coverage": coverage(simulator),
    }  # fmt: skip


def _clock(simulator: Simulator, given: dict[str, Any]) -> dict[str, Any]:
    unknown = set(given) - {"advance", "frozen"}
    if unknown:
        raise ValueError(f"only advance and frozen, not {', '.join(unknown)}")
    if "frozen" in given:
        simulator.world.set_clock(lambda clock: clock.stand_still(bool(given["frozen"])))
    simulator.world.pass_time(int(given.get("advance", 0)))
    simulator.deliveries.poke()
    return {"now": simulator.world.clock.now()}


def _faults(simulator: Simulator, _: dict[str, Any]) -> dict[str, Any]:
    return simulator.faults.shown()


def _set_faults(simulator: Simulator, given: dict[str, Any]) -> dict[str, Any]:
    simulator.set_faults(Faults.parse(given))
    return simulator.faults.shown()


def _authenticate(simulator: Simulator, given: dict[str, Any]) -> dict[str, Any]:
    world = simulator.world
    with world.transaction():
        return shown(world, checkout.answer(world, given["intent"], yes=bool(given["yes"])))


def _payout(simulator: Simulator, given: dict[str, Any]) -> dict[str, Any]:
    world = simulator.world
    with world.transaction():
        return shown(world, payouts.pay_all(world, given["currency"]))


def _onboard(simulator: Simulator, given: dict[str, Any]) -> dict[str, Any]:
    world = simulator.world
    with world.transaction():
        return shown(world, onboarding.fill_in(world, given["account"], given.get("outcome", "complete")))
