"""What a firm decides about a node, against those who claim its cards at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from marketplace.common.errors import Conflict
from nodes.models import Node
from nodes.services.claims import take_claims
from nodes.services.fleet import retire_node
from nodes.states import ClaimKind, NodeState
from tests.factories import NOON, make_firm
from tests.hosts import Host
from tests.nodes.ingest.process import until

BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def host(transactional_db: None) -> Host:
    return Host(make_firm(), NOON)


class Retirement(threading.Thread):
    """A retirement on a connection of its own."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node
        self.refusal: Conflict | None = None

    def run(self) -> None:
        try:
            retire_node(node=self.node, actor="usr_1", now=NOON)
        except Conflict as error:
            self.refusal = error
        finally:
            connections.close_all()


def waits_or_ended(thread: Retirement) -> Callable[[], bool]:
    def condition() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED)
            return cursor.fetchone()[0] > 0 or not thread.is_alive()

    return condition


def test_a_node_is_not_retired_while_a_round_claims_its_cards(host: Host) -> None:
    retirement = Retirement(host.node)
    with transaction.atomic():
        list(Node.objects.raw("SELECT * FROM nodes_node WHERE id = %s FOR KEY SHARE", [host.node.pk]))
        take_claims(
            cards=[host.cards[0].pk],
            start=NOON,
            end=NOON + timedelta(hours=1),
            kind=ClaimKind.LEASE,
            holder="lse_1",
        )
        retirement.start()
        until(waits_or_ended(retirement))
    retirement.join(10)
    assert retirement.refusal is not None
    assert retirement.refusal.code == "cards_claimed"
    assert Node.objects.get(pk=host.node.pk).state == NodeState.ONLINE


def test_who_was_retired_meanwhile_can_not_be_retired_again(host: Host) -> None:
    stale = Node.objects.get(pk=host.node.pk)
    retire_node(node=host.node, actor="usr_1", now=NOON)
    assert host.node.state == NodeState.RETIRED
    with pytest.raises(Conflict):
        retire_node(node=stale, actor="usr_1", now=NOON)
