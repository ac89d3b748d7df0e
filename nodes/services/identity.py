"""A card that says something else of itself than before: an event, and no trade until somebody has looked."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from django.db import transaction

from marketplace.accounts.models import User
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, NotAllowed
from marketplace.events.services import record_event
from nodes.agent.protocol import CardIdentity
from nodes.models import Card, IdentityChange, Node
from nodes.passports.findings import DECLARED
from nodes.passports.identity import identity_changes, is_blocking, remembered

RECOGNISED_BY = ("name", "pci_device_id", "memory_total_mib")


def note_identity(*, card: Card, node: Node, identity: CardIdentity, model: GpuModel, now: datetime) -> dict[str, Any]:
    """What to keep as the card's identity; a change is written down, told, and blocks the card when it is grave.

    `model` is what the card is recognised as now: another one is grave, unless only the catalogue has changed.
    """
    said = dataclasses.asdict(identity)
    changes = identity_changes(card.identity, said)
    if model.pk != card.gpu_model_id and any(said[name] != card.identity.get(name) for name in RECOGNISED_BY):
        changes["model"] = [card.gpu_model.slug, model.slug]
    if changes:
        is_grave = is_blocking(changes)
        IdentityChange.objects.create(card=card, node=node, changes=changes, is_blocking=is_grave, seen_at=now)
        if is_grave:
            Card.objects.filter(pk=card.pk).update(tier=DECLARED)
        record_event(
            firm_id=node.firm_id,
            type="card.identity_changed",
            subject=card.public_id,
            reason="blocked" if is_grave else "noted",
            data={"changes": changes},
            now=now,
        )
    return remembered(card.identity, said)


@transaction.atomic
def accept_identity_change(*, change: IdentityChange, operator: User, now: datetime) -> None:
    """The operator has looked: what the card says now is what it is, and it may be traded again."""
    if not operator.is_operator:
        raise NotAllowed("only an operator decides this", code="operators_only")
    if not IdentityChange.objects.filter(pk=change.pk, accepted_at=None).update(accepted_at=now):
        raise Conflict("this change is accepted already", code="already_accepted")
    card = Card.objects.get(pk=change.card_id)
    record_event(
        firm_id=card.firm_id,
        type="card.identity_accepted",
        subject=card.public_id,
        actor=operator.public_id,
        data={"changes": change.changes},
        now=now,
    )
