"""What nodes must run: written as signed commands, revoked by a higher epoch, moved on by the nodes' acks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F

from nodes.agent.protocol import Ack, AssignmentCommand, FailureReason, Phase, RelayEndpoint, WorkloadSpec, decode
from nodes.command_key import sign_command
from nodes.models import Assignment, Card, Node, RelayPort
from nodes.relay_keys import relay_host_key
from nodes.services.acks import clean_acks
from nodes.services.relay_ports import take_ports
from nodes.states import Seen, Wanted

SEEN_AFTER = {
    Phase.PULLING: Seen.PULLING,
    Phase.STARTING: Seen.STARTING,
    Phase.RUNNING: Seen.RUNNING,
    Phase.STOPPING: Seen.STOPPING,
    Phase.STOPPED: Seen.EXITED,
    Phase.FAILED: Seen.EXITED,
}


@transaction.atomic
def assign(*, node: Node, holder: str, cards: Iterable[Card], spec: WorkloadSpec, now: datetime) -> Assignment:
    """Want a workload on exactly these cards of the node; each card's epoch is raised, so that older ones stop."""
    epochs = _raised_epochs(cards)
    assignment = Assignment(
        node=node,
        holder=holder,
        running_epochs=epochs,
        epochs=epochs,
        relay_ports=take_ports(holder=holder, count=1 + len(spec.ports)),
        created_at=now,
    )
    _sign(assignment, wanted=Wanted.RUN, spec=spec)
    assignment.save()
    return assignment


@transaction.atomic
def revoke(*, holder: str, now: datetime) -> None:
    """Want it stopped. Repeating this changes nothing."""
    assignment = Assignment.objects.select_for_update().filter(holder=holder, wanted=Wanted.RUN).first()
    if assignment is None:
        return
    assignment.epochs = _raised_epochs(Card.objects.filter(uuid__in=assignment.epochs))
    assignment.wanted = Wanted.STOP
    _sign(assignment, wanted=Wanted.STOP, spec=None)
    if assignment.seen == Seen.EXITED and assignment.stopped_at is None:
        assignment.stopped_at = now
    assignment.save()


@transaction.atomic
def record_acks(*, node: Node, acks: Iterable[Ack], now: datetime) -> None:
    """Note what the node says of its assignments. Bad, repeated, older and foreign acks change nothing."""
    usable = clean_acks(acks, sender=node.public_id)
    for ack in sorted(usable, key=lambda each: (each.assignment, each.run, each.seq)):
        assignment = Assignment.objects.select_for_update().filter(node=node, public_id=ack.assignment).first()
        if assignment is None or (ack.run, ack.seq) <= (assignment.ack_run, assignment.ack_seq):
            continue
        _apply(assignment, ack, now)
        assignment.save()


@transaction.atomic
def forget_registry_auth(*, holder: str) -> None:
    """Sign the command anew without the registry's password: what runs need not be pulled again."""
    assignment = Assignment.objects.select_for_update().filter(holder=holder, wanted=Wanted.RUN).first()
    if assignment is None:
        return
    spec = decode(AssignmentCommand, assignment.payload).spec
    if spec is not None and spec.registry_auth is not None:
        _sign(assignment, wanted=Wanted.RUN, spec=replace(spec, registry_auth=None))
        assignment.save(update_fields=["payload", "signature"])


def stopped_at(holder: str) -> datetime | None:
    """When its node said that it stopped; None while it has not."""
    return Assignment.objects.filter(holder=holder, seen=Seen.EXITED).values_list("stopped_at", flat=True).first()


@transaction.atomic
def forget_ports(*, holder: str) -> None:
    """Give the relay's ports back."""
    RelayPort.objects.filter(holder=holder).update(holder="")


def _apply(assignment: Assignment, ack: Ack, now: datetime) -> None:
    seen = SEEN_AFTER[ack.phase]
    if assignment.seen == Seen.EXITED:  # a container never comes back under the same assignment
        assignment.memory_at_baseline = _baseline_after_end(assignment, ack)
        return
    assignment.ack_run, assignment.ack_seq = ack.run, ack.seq
    assignment.progress_percent = ack.progress_percent
    if ack.memory_at_baseline is not None:
        assignment.memory_at_baseline = ack.memory_at_baseline
    assignment.seen = seen
    assignment.reason = str(ack.reason or "")
    assignment.detail = ack.detail or ""
    if seen == Seen.RUNNING:
        if ack.gpus_seen and set(ack.gpus_seen) != set(assignment.epochs):
            assignment.reason, assignment.detail = FailureReason.GPU_NOT_VISIBLE, "other GPUs than those of the lease"
        assignment.running_at = assignment.running_at or now
        assignment.ssh_user = ack.ssh_user or ""
        assignment.ssh_host_key = ack.ssh_host_key or ""
    if seen == Seen.EXITED:
        assignment.stopped_at = now


def _baseline_after_end(assignment: Assignment, ack: Ack) -> bool | None:
    """Memory that was not back at the end may come back later; that the lease "was never here" takes no end back."""
    before = assignment.memory_at_baseline
    is_later = ack.run == assignment.ack_run and SEEN_AFTER[ack.phase] == Seen.EXITED
    is_of_this_end = before is None or str(ack.reason or "") == assignment.reason
    return True if ack.memory_at_baseline is True and is_later and is_of_this_end else before


def _raised_epochs(cards: Iterable[Card]) -> dict[str, int]:
    keys = sorted(card.pk for card in cards)
    locked = Card.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
    epochs = {card.uuid: card.epoch + 1 for card in locked}
    Card.objects.filter(pk__in=keys).update(epoch=F("epoch") + 1)
    return epochs


def _sign(assignment: Assignment, *, wanted: Wanted, spec: WorkloadSpec | None) -> None:
    command = AssignmentCommand(
        assignment=assignment.public_id,
        lease=assignment.holder,
        node=assignment.node.public_id,
        wanted=wanted.value,
        epochs=assignment.epochs,
        ttl_seconds=settings.LEASE_TTL_SECONDS,
        stop_grace_seconds=settings.STOP_GRACE_SECONDS,
        spec=spec,
        relays=[_relay(assignment, port) for port in assignment.relay_ports],
    )
    signed = sign_command(command)
    assignment.payload, assignment.signature = signed.payload, signed.signature


def _relay(assignment: Assignment, port: int) -> RelayEndpoint:
    return RelayEndpoint(
        host=settings.RELAY_HOST,
        port=settings.RELAY_PORT,
        host_key=relay_host_key(),
        listen_port=port,
        user=assignment.holder,
    )
