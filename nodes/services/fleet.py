"""What a firm decides about its nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from marketplace.common.errors import Conflict
from marketplace.common.hints import ring
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.models import Claim, Node
from nodes.states import NodeState

COLUMNS = {"name": "name", "region": "region", "country": "country", "draining": "is_draining"}


@transaction.atomic
def change_node(*, node: Node, changes: dict[str, Any], actor: str, now: datetime) -> None:
    """Set `name`, `region`, `country` or `draining`. Draining takes no new lease; the running ones go on."""
    columns = {COLUMNS[name]: value for name, value in changes.items()}
    if not columns:
        return
    try:
        with transaction.atomic():
            Node.objects.filter(pk=node.pk).update(**columns)
    except IntegrityError as error:
        raise Conflict("another node of the firm has this name", code="name_taken") from error
    record_event(firm_id=node.firm_id, type="node.changed", subject=node.public_id, actor=actor, data=changes, now=now)
    transaction.on_commit(lambda: ring("supply"))


def keep_online(node: Node) -> bool:
    """Whether the node is online; then nobody can retire it before the caller's transaction ends.

    A key share: what the agent's reports write of the node need not wait for a round, nor the round for them.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM nodes_node WHERE id = %s FOR KEY SHARE", [node.pk])
        row = cursor.fetchone()
    return row is not None and row[0] == NodeState.ONLINE


@transaction.atomic
def retire_node(*, node: Node, actor: str, now: datetime) -> None:
    """End a node for good: its bearer stops working. Conflict while a card of it is leased now or later, or sold.

    The matcher holds a key share of the node (`keep_online`) while it claims cards, so this waits for its round and
    sees its claims.
    """
    locked = Node.objects.select_for_update(no_key=False, of=("self",)).get(pk=node.pk)
    lasting = Q(period__upper_inf=True) | Q(period__endswith__gt=now)
    if Claim.objects.filter(lasting, card__node=node).exists():
        raise Conflict("cards of this node are promised to others", code="cards_claimed")
    transition(locked, NodeState.RETIRED, now=now, actor=actor)
    node.refresh_from_db(fields=["state"])
