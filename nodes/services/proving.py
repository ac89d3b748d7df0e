"""What is known of a node's delivery: whether a lease of the platform's own has run on it, and when the next may."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from marketplace.common.errors import Conflict
from marketplace.common.hints import ring
from marketplace.events.services import record_event
from nodes.models import Node, NodeProof
from nodes.selectors import uuids_when_proven

MINUTE = 60
WAITS = tuple(timedelta(seconds=MINUTE * each) for each in (1, 5, 30, 120, 360, 1440))
"""How long a node is left alone after its first, second, … failure in a row; from the last on always as long."""


def wait_after(failures: int) -> timedelta:
    """How long until the next try when so many, at least one, have failed in a row."""
    return WAITS[min(failures, len(WAITS)) - 1]


@transaction.atomic
def note_proof_running(*, node: Node, now: datetime) -> None:
    """A lease of the platform's own is on the node."""
    NodeProof.objects.update_or_create(node=node, defaults={"running_since_at": now, "next_at": now})


@transaction.atomic
def record_proven(*, node: Node, lease: str, now: datetime) -> None:
    """The lease ran from its start to its end: the node's cards are offered from now on. Repeating changes nothing."""
    NodeProof.objects.filter(node=node).delete()
    if Node.objects.filter(pk=node.pk, proven_at=None).update(proven_at=now):
        _tell(node, "node.proven", now, data={"lease": lease})
        transaction.on_commit(lambda: ring("supply"))


@transaction.atomic
def record_failed_proof(*, node: Node, reason: str, detail: str, counts: bool, now: datetime) -> None:
    """It did not; what `counts` makes the wait longer, what the owner took back for himself does not."""
    proof = NodeProof.objects.select_for_update().filter(node=node).first() or NodeProof(node=node)
    proof.failures = min(proof.failures + counts, 1000)
    proof.running_since_at, proof.failed_at = None, now
    proof.reason, proof.detail = reason, detail
    proof.next_at = now + wait_after(proof.failures if counts else 1)
    proof.save()
    data = {"detail": detail, "failures": proof.failures, "next_at": proof.next_at.isoformat()}
    _tell(node, "node.proving_failed" if counts else "node.proving_interrupted", now, reason=reason, data=data)


@transaction.atomic
def prove_again(*, node: Node, actor: str, now: datetime) -> None:
    """The owner has put it right and wants no wait. Conflict for a node that is proven; one that runs goes on."""
    if Node.objects.filter(pk=node.pk, proven_at__isnull=False).exists():
        raise Conflict("this node is proven", code="already_proven")
    NodeProof.objects.filter(node=node, next_at__gt=now).update(next_at=now)
    _tell(node, "node.proof_asked", now, actor=actor)


def doubt_other_cards(*, node: Node, uuids: Sequence[str], now: datetime) -> None:
    """A proven node of whose cards fewer than half were there when it was proven is another host: not proven.

    Cards that are missing for a while prove nothing; a firm's other host is another node from the start. Call it with
    the node locked, before the new cards are written.
    """
    if node.proven_at is None:
        return
    before = uuids_when_proven(node)
    if not before or 2 * len(before & set(uuids)) >= len(uuids):
        return
    Node.objects.filter(pk=node.pk).update(proven_at=None)
    node.proven_at = None
    _tell(node, "node.unproven", now, reason="other_cards")


def _tell(
    node: Node, type: str, now: datetime, *, reason: str = "", actor: str = "system", data: dict[str, Any] | None = None
) -> None:
    record_event(
        firm_id=node.firm_id, type=type, subject=node.public_id, reason=reason, actor=actor, data=data, now=now
    )
