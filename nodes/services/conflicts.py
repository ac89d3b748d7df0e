"""The operator's rulings: which node really has a card, and whether a quarantined node may come back."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from marketplace.accounts.models import User
from marketplace.common.errors import Conflict, Invalid, NotAllowed
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.models import Card, CardState, CardTransfer, Claim, IdentityConflict, Node
from nodes.states import KEEP, MOVE, Availability, NodeState


@transaction.atomic
def resolve_identity_conflict(*, conflict: IdentityConflict, ruling: str, operator: User, now: datetime) -> None:
    """`keep` leaves the card where its history is, `move` gives it to the newcomer.

    A card can't move that is leased or sold, except to the firm that it was sent to.
    """
    _check_operator(operator)
    if ruling not in {KEEP, MOVE}:
        raise Invalid(f"a ruling is {KEEP} or {MOVE}", code="bad_ruling")
    card = Card.objects.select_for_update().get(pk=conflict.card_id)  # first, as whoever measures or moves it does
    conflict = IdentityConflict.objects.select_for_update(of=("self",)).select_related("newcomer").get(pk=conflict.pk)
    if conflict.resolved_at is not None:
        raise Conflict("this conflict is resolved", code="already_resolved")
    former_firm_id = card.firm_id
    if ruling == MOVE:
        _move(card, conflict.newcomer, now)
    conflict.resolved_at, conflict.ruling = now, ruling
    conflict.save(update_fields=["resolved_at", "ruling"])
    for firm_id in sorted({former_firm_id, conflict.newcomer.firm_id}):
        record_event(
            firm_id=firm_id,
            type="card.conflict_resolved",
            subject=card.public_id,
            reason=ruling,
            actor=operator.public_id,
            now=now,
        )


@transaction.atomic
def release_quarantine(*, node: Node, operator: User, now: datetime) -> None:
    """Let a node report itself back; not while a conflict about one of its cards is open."""
    _check_operator(operator)
    if IdentityConflict.objects.filter(newcomer=node, resolved_at=None).exists():
        raise Conflict("decide about its identity conflicts first", code="conflict_open")
    transition(node, NodeState.PENDING, now=now, actor=operator.public_id, quarantine_reason="")


def _move(card: Card, newcomer: Node, now: datetime) -> None:
    sent_there = CardTransfer.objects.filter(card=card, to_firm=newcomer.firm_id, ended_at=None).values("holder")
    claims = Claim.objects.filter(Q(period__endswith__gt=now) | Q(period__upper_inf=True), card=card)
    if claims.exclude(holder__in=sent_there).exists():
        raise Conflict("this card is leased or sold where it is", code="card_claimed")
    uuids = [each["uuid"] for each in newcomer.inventory.get("cards", [])]
    if card.uuid not in uuids:
        raise Conflict("the newcomer does not have this card any more", code="card_gone")
    card.node, card.firm, card.index = newcomer, newcomer.firm, uuids.index(card.uuid)
    card.save(update_fields=["node", "firm", "index"])
    CardState.objects.filter(card=card).update(
        availability=Availability.LOST, reasons=["moved"], since_at=now, observed_at=None, baseline_mib=None
    )


def _check_operator(user: User) -> None:
    if not user.is_operator:
        raise NotAllowed("only an operator decides this", code="operators_only")
