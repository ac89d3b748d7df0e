"""Clocks of leases."""

from __future__ import annotations

from celery import shared_task

from marketplace.common import clock
from marketplace.leases.services.advancing import advance_leases
from marketplace.leases.services.disputed import end_disputed_leases
from marketplace.leases.services.proving import activate_proving_leases, prove_nodes, reachable_proving_leases
from marketplace.leases.services.rating import rate_nodes
from marketplace.leases.services.starting import activate_leases, reachable_leases
from marketplace.orders.services.closing import cancel_disputed_orders


@shared_task(name="leases.advance_leases")
def advance_leases_task() -> None:
    advance_leases(now=clock.now())


@shared_task(name="leases.activate_leases")
def activate_leases_task() -> None:
    reachable = reachable_leases(now=clock.now())
    activate_leases(lease_ids=reachable, now=clock.now())


@shared_task(name="leases.prove_nodes")
def prove_nodes_task() -> None:
    prove_nodes(now=clock.now())


@shared_task(name="leases.activate_proving_leases")
def activate_proving_leases_task() -> None:
    reachable = reachable_proving_leases(now=clock.now())
    activate_proving_leases(lease_ids=reachable, now=clock.now())


@shared_task(name="leases.rate_nodes")
def rate_nodes_task() -> None:
    rate_nodes(now=clock.now())


@shared_task(name="leases.end_disputed_leases")
def end_disputed_leases_task() -> None:
    cancel_disputed_orders(now=clock.now())
    end_disputed_leases(now=clock.now())
