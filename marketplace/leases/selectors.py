"""Reading leases, and the locks on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from marketplace.accounts.models import Firm
from marketplace.common.errors import NotAllowed, NotFound
from marketplace.leases.models import Lease
from marketplace.leases.states import LeaseState
from nodes.models import Assignment, AssignmentLog
from nodes.selectors import log_of


def lease_for_update(lease_id: int | None = None, *, public_id: str | None = None) -> Lease:
    """The lease and its order, locked until the end of the transaction; NotFound when there is none.

    The order too, because what its escrow must hold depends on all of its leases. Accounts are locked after it.
    """
    wanted = Q(pk=lease_id) if lease_id is not None else Q(public_id=public_id)
    locked = Lease.objects.select_for_update(of=("self", "order")).select_related("order", "node")
    lease = locked.filter(wanted).first()
    if lease is None:
        raise NotFound
    return lease


def leases_of(firm: Firm) -> QuerySet[Lease]:
    """Leases that the firm bought or sold."""
    return (
        Lease.objects.filter(Q(buyer=firm) | Q(seller=firm))
        .select_related("order", "node", "buyer", "seller")
        .prefetch_related("lease_cards__card__gpu_model")
    )


def lease_of(firm: Firm, public_id: str) -> Lease:
    """One of them; NotFound for anything else."""
    lease = leases_of(firm).filter(public_id=public_id).first()
    if lease is None:
        raise NotFound
    return lease


def buyers_log(lease: Lease, firm: Firm) -> AssignmentLog | None:
    """What the workload wrote last; NotAllowed for its seller."""
    if lease.buyer_id != firm.pk:
        raise NotAllowed("only the buyer sees what the workload writes", code="not_the_buyer")
    return log_of(lease.public_id)


@dataclass(frozen=True, slots=True)
class Access:
    """How far a lease's container has come, and the way in once it runs."""

    ssh: dict[str, Any] | None
    progress: dict[str, Any]


def access_of(lease: Lease) -> Access | None:
    """None before its node was told to run it."""
    return accesses_of([lease]).get(lease.public_id)


def accesses_of(leases: Iterable[Lease]) -> dict[str, Access]:
    """By the lease's public id, with one query for all."""
    by_id = {lease.public_id: lease for lease in leases}
    return {each.holder: _access(by_id[each.holder], each) for each in Assignment.objects.filter(holder__in=by_id)}


def _access(lease: Lease, assignment: Assignment) -> Access:
    progress = {"phase": assignment.seen, "percent": assignment.progress_percent, "reason": assignment.reason or None}
    if lease.state != LeaseState.ACTIVE:
        return Access(ssh=None, progress=progress)
    ssh, *others = assignment.relay_ports
    return Access(
        ssh={
            "host": settings.RELAY_HOST,
            "port": ssh,
            "user": assignment.ssh_user,
            "host_key": assignment.ssh_host_key,
            "ports": dict(zip(map(str, lease.order.workload.get("ports", [])), others, strict=False)),
        },
        progress=progress,
    )
