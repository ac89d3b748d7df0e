"""The platform's own leases on nodes that are not proven: placed, ended, and judged by how they went.

What a new node must show is the delivery that a buyer gets: the container starts, exactly its card is seen inside, the
platform's probe reaches it, it stays for its time, and the card is given back clean. Nobody orders and nobody pays.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from nacl.signing import SigningKey

from listings.supply import ListedCard, supply_if_proven
from marketplace.common.errors import DomainError
from marketplace.events.transitions import transition
from marketplace.leases.models import ProvingLease
from marketplace.leases.services.starting import PROBES_PER_TICK, Probe, probe_lease, reachable_leases
from marketplace.leases.services.trouble import Trouble, trouble_at_start, trouble_while_running
from marketplace.leases.states import EndReason, LeaseState
from nodes.agent.protocol import WorkloadSpec
from nodes.models import Assignment, Card, CardState, Node
from nodes.relay.leases import ssh_line
from nodes.selectors import nodes_due_for_proof
from nodes.services.assignments import assign, forget_ports, revoke
from nodes.services.claims import CardsTaken, shorten_claims, take_claims
from nodes.services.inventory import NOT_REPORTED
from nodes.services.proving import note_proof_running, record_failed_proof, record_proven
from nodes.states import Availability, ClaimKind, NodeState, Seen

log = logging.getLogger(__name__)
PLACED_PER_TICK = 100


def prove_nodes(*, now: datetime) -> None:
    """Move every proving lease on, then place those that are due. Nothing here waits for the network."""
    for pk in ProvingLease.objects.filter(cards_freed_at=None).order_by("pk").values_list("pk", flat=True):
        try:
            _advance(pk, now)
        except Exception:  # one that can't move on must not keep the other nodes from being proven
            log.exception("proving lease %s can't be advanced now", pk)
    place_proving_leases(now=now)


def place_proving_leases(*, now: datetime, limit: int = PLACED_PER_TICK) -> int:
    """A lease on one card of each node that is due; returns how many.

    Only on what its owner offers: nobody's container runs on a host whose owner rents nothing out.
    """
    if settings.PROVING_LEASE_SECONDS <= 0:
        return 0
    due = nodes_due_for_proof(now).exclude(proving_leases__in=ProvingLease.objects.filter(cards_freed_at=None))
    cards: dict[int, dict[int, ListedCard]] = defaultdict(dict)
    for ask in supply_if_proven(now=now, node_pks=list(due.values_list("pk", flat=True))):
        cards[ask.node_pk] |= {card.id: card for card in ask.cards if card.free_until >= _claim_end(now)}
    nodes = [node for node in sorted(cards) if cards[node]][:limit]
    return sum(_place(node, sorted(cards[node]), now) for node in nodes)


def reachable_proving_leases(*, now: datetime, probe: Probe = probe_lease, limit: int = PROBES_PER_TICK) -> list[str]:
    """Those whose container runs and answers, as with every lease."""
    return reachable_leases(now=now, probe=probe, limit=limit, of=ProvingLease)


def activate_proving_leases(*, lease_ids: Iterable[str], now: datetime) -> int:
    """Begin their time; returns how many began."""
    return sum(_activate(each, now) for each in lease_ids)


def _place(node_pk: int, card_ids: Sequence[int], now: datetime) -> bool:
    try:
        return any(_try(node_pk, card_id, now) for card_id in card_ids)
    except DomainError as error:  # the platform has no port for it: the next tick tries again
        log.warning("node %s can't be proven yet: %s", node_pk, error)
        return False


def _try(node_pk: int, card_id: int, now: datetime) -> bool:
    try:
        return _reserve_and_start(node_pk, card_id, now)
    except CardsTaken:
        return False  # a sale was faster


@transaction.atomic
def _reserve_and_start(node_pk: int, card_id: int, now: datetime) -> bool:
    """With the node locked: whoever else looks at it meanwhile passes it over, and sees the lease afterwards."""
    locked = Node.objects.select_for_update(skip_locked=True, no_key=True, of=("self",))
    node = locked.filter(pk=node_pk, proven_at=None, state=NodeState.ONLINE).first()
    if node is None or ProvingLease.objects.filter(node=node, cards_freed_at=None).exists():
        return False
    lease = ProvingLease.objects.create(
        node=node,
        card_id=card_id,
        duration_seconds=settings.PROVING_LEASE_SECONDS,
        reserved_at=now,
        deadline_at=now + timedelta(seconds=settings.START_DEADLINE_SECONDS),
    )
    holder = lease.public_id
    take_claims(cards=[card_id], start=now, end=_claim_end(now), kind=ClaimKind.PROVING, holder=holder)
    assign(node=node, holder=holder, cards=Card.objects.filter(pk=card_id), spec=_spec(), now=now)
    transition(lease, LeaseState.STARTING, now=now)
    note_proof_running(node=node, now=now)
    return True


def _claim_end(now: datetime) -> datetime:
    longest = settings.START_DEADLINE_SECONDS + settings.PROVING_LEASE_SECONDS + settings.TURNAROUND_SECONDS
    return now + timedelta(seconds=longest)


def _spec() -> WorkloadSpec:
    """What a buyer would get who asks for nothing special; nobody has the private half of its key."""
    nobodys = bytes(SigningKey.generate().verify_key)
    return WorkloadSpec(image=settings.PROVING_IMAGE, ssh_public_key=ssh_line(nobodys))


def _locked(**which: object) -> ProvingLease | None:
    """A lease whose card is not free yet, and its node, locked; None while somebody else is at them."""
    locked = ProvingLease.objects.select_for_update(skip_locked=True, no_key=True, of=("self", "node"))
    return locked.select_related("node").filter(cards_freed_at=None, **which).first()


@transaction.atomic
def _activate(holder: str, now: datetime) -> bool:
    lease = _locked(public_id=holder, state=LeaseState.STARTING)
    if lease is None:
        return False  # it was ended while we looked
    ends_at = now + timedelta(seconds=lease.duration_seconds)
    transition(lease, LeaseState.ACTIVE, now=now, active_at=now, ends_at=ends_at, deadline_at=ends_at)
    shorten_claims(holder=holder, until=ends_at + timedelta(seconds=settings.TURNAROUND_SECONDS))
    return True


@transaction.atomic
def _advance(pk: int, now: datetime) -> None:
    lease = _locked(pk=pk)
    if lease is None:
        return
    if lease.state == LeaseState.STARTING and (trouble := _trouble_at_start(lease, now)):
        _end(lease, LeaseState.FAILED, trouble, now)
    elif lease.state == LeaseState.ACTIVE and (trouble := _end_of_active(lease, now)):
        _end(lease, LeaseState.ENDING, trouble, now)
    if lease.state in {LeaseState.ENDING, LeaseState.FAILED}:
        _finish(lease, now)


def _trouble_at_start(lease: ProvingLease, now: datetime) -> Trouble | None:
    trouble = _wanted_back(lease) or trouble_at_start(
        holder=lease.public_id, node=lease.node, deadline_at=lease.deadline_at, now=now
    )
    if trouble and trouble.reason == EndReason.START_TIMED_OUT:
        seen = Assignment.objects.values_list("seen", flat=True).get(holder=lease.public_id)
        return replace(trouble, detail=f"the last that the host said of it: {Seen(seen).label.lower()}")
    return trouble


def _end_of_active(lease: ProvingLease, now: datetime) -> Trouble | None:
    """A node that falls silent meanwhile has proved nothing; it need not be past grace."""
    assert lease.ends_at
    if trouble := _wanted_back(lease):
        return trouble
    if lease.node.state == NodeState.LOST:
        return Trouble(EndReason.NODE_LOST)
    cards = CardState.objects.filter(card=lease.card_id)
    if trouble := trouble_while_running(holder=lease.public_id, node=lease.node, cards=cards, now=now):
        return trouble
    return Trouble(EndReason.WINDOW_OVER) if lease.ends_at <= now else None


def _wanted_back(lease: ProvingLease) -> Trouble | None:
    """The owner's own process is on the card: he needs it, and nobody else does."""
    contended = CardState.objects.filter(card=lease.card_id, availability=Availability.CONTENDED)
    return Trouble(EndReason.OWNER_RECLAIMED) if contended.exists() else None


def _end(lease: ProvingLease, to: LeaseState, why: Trouble, now: datetime) -> None:
    """Stop it; a failure is told at once, a success waits until the card is clean."""
    fence = now + timedelta(seconds=settings.LEASE_TTL_SECONDS + settings.LEASE_GRACE_SECONDS)
    transition(
        lease,
        to,
        now=now,
        reason=why.reason,
        ended_at=now,
        end_reason=why.reason,
        detail=why.detail,
        deadline_at=fence,
    )
    revoke(holder=lease.public_id, now=now)
    if why.reason != EndReason.WINDOW_OVER:
        _record_failure(lease, why, now)


def _finish(lease: ProvingLease, now: datetime) -> None:
    """Give the card back once it is clean, or once no agent can run the lease any more; then judge."""
    assert lease.deadline_at
    clean = Assignment.objects.filter(holder=lease.public_id, seen=Seen.EXITED, memory_at_baseline=True).exists()
    if not clean and now < lease.deadline_at:
        return
    if lease.state == LeaseState.ENDING:
        _judge(lease, clean, now)
    shorten_claims(holder=lease.public_id, until=now)
    forget_ports(holder=lease.public_id)
    lease.cards_freed_at = now
    lease.save(update_fields=["cards_freed_at"])


def _judge(lease: ProvingLease, clean: bool, now: datetime) -> None:
    """ENDING → ENDED; what lasted for its time proves the node, when the card is clean and still in it."""
    trouble = None
    if lease.end_reason == EndReason.WINDOW_OVER:
        if lease.card.node_id != lease.node_id or lease.card.index == NOT_REPORTED:
            trouble = Trouble(EndReason.CARD_UNHEALTHY, "the card is not in this host any more")
        elif not clean:
            trouble = Trouble(EndReason.NOT_CLEANED)
    reason = trouble.reason if trouble else EndReason(lease.end_reason)
    detail = trouble.detail if trouble else lease.detail
    transition(lease, LeaseState.ENDED, now=now, reason=reason, end_reason=reason, detail=detail, deadline_at=None)
    if trouble:
        _record_failure(lease, trouble, now)
    elif reason == EndReason.WINDOW_OVER:
        record_proven(node=lease.node, lease=lease.public_id, now=now)


def _record_failure(lease: ProvingLease, why: Trouble, now: datetime) -> None:
    counts = why.reason != EndReason.OWNER_RECLAIMED
    reason = why.failure if counts and why.failure else why.reason
    record_failed_proof(node=lease.node, reason=reason, detail=why.detail, counts=counts, now=now)
