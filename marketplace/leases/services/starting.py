"""From RESERVED to ACTIVE: the node is told to run it, and the platform itself looks whether it can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from marketplace.events.transitions import WrongState, transition
from marketplace.leases.models import Lease, ProvingLease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.escrow import release_unneeded_escrow
from marketplace.leases.states import NOT_YET_USABLE, LeaseState
from marketplace.orders.models import Order
from marketplace.orders.services.closing import forget_order_secrets
from nodes.agent.protocol import WorkloadSpec
from nodes.models import Assignment, Card
from nodes.relay.probe import ProbeFailed, probe_now
from nodes.services.assignments import assign, forget_registry_auth
from nodes.services.claims import shorten_claims
from nodes.states import Seen, Wanted

PROBE_SECONDS = 5.0
PROBES_AT_ONCE = 32
PROBES_PER_TICK = 64  # so that the slowest tick takes two probes' time
Probe = Callable[[str, int, str], None]
"""(host, port, host key) → None, or ProbeFailed."""


def probe_lease(host: str, port: int, host_key: str) -> None:
    """The real probe: an SSH key exchange through the relay's public port."""
    probe_now(host, port, host_key, timeout_seconds=PROBE_SECONDS)


@transaction.atomic
def start_lease(*, lease_id: int, now: datetime) -> None:
    """Tell the node to run it."""
    lease = lease_for_update(lease_id)
    if lease.state != LeaseState.RESERVED:
        return
    cards = Card.objects.filter(lease_cards__lease=lease)
    assign(node=lease.node, holder=lease.public_id, cards=cards, spec=_spec(lease.order), now=now)
    transition(lease, LeaseState.STARTING, now=now)


def reachable_leases(
    *,
    now: datetime,
    probe: Probe = probe_lease,
    limit: int = PROBES_PER_TICK,
    of: type[Lease] | type[ProvingLease] = Lease,
) -> list[str]:
    """The leases whose container runs and answers, by public id.

    The probes go over the network, so they run outside any transaction, and apart from the tick that ends leases. Who
    was probed longest ago is next: containers that hang keep no other waiting for long.
    """
    waiting = _next_to_probe(of, now, limit)
    with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
        answers = list(pool.map(lambda each: _answers(each, probe), waiting))
    return [each.holder for each, answered in zip(waiting, answers, strict=True) if answered]


def activate_leases(*, lease_ids: Iterable[str], now: datetime) -> int:
    """Begin the paid window of leases that have just answered; returns how many began."""
    return sum(_activate(each, now) for each in lease_ids)


def _next_to_probe(of: type[Lease] | type[ProvingLease], now: datetime, limit: int) -> list[Assignment]:
    running = Assignment.objects.filter(wanted=Wanted.RUN, seen=Seen.RUNNING, reason="").exclude(ssh_host_key="")
    starting = of.objects.filter(state=LeaseState.STARTING, public_id__in=running.values("holder"))
    oldest = starting.order_by(F("probed_at").asc(nulls_first=True), "pk").values_list("public_id", flat=True)
    chosen = list(oldest[:limit])
    of.objects.filter(public_id__in=chosen).update(probed_at=now)
    return list(running.filter(holder__in=chosen))


def _answers(assignment: Assignment, probe: Probe) -> bool:
    try:
        probe(settings.RELAY_PROBE_HOST, assignment.relay_ports[0], assignment.ssh_host_key)
    except ProbeFailed:
        return False
    return True


@transaction.atomic
def _activate(holder: str, now: datetime) -> bool:
    lease = lease_for_update(public_id=holder)
    ends_at = now + timedelta(seconds=lease.duration_seconds)
    try:
        transition(lease, LeaseState.ACTIVE, now=now, active_at=now, ends_at=ends_at, deadline_at=ends_at)
    except WrongState:
        return False  # it was ended while we looked
    release_unneeded_escrow(lease=lease, now=now)
    forget_registry_auth(holder=holder)
    if not Lease.objects.filter(order=lease.order, state__in=NOT_YET_USABLE).exists():
        forget_order_secrets(order=lease.order)
    shorten_claims(holder=holder, until=ends_at + timedelta(seconds=settings.TURNAROUND_SECONDS))
    return True


def _spec(order: Order) -> WorkloadSpec:
    return WorkloadSpec(**order.workload, registry_auth=order.registry_auth)
