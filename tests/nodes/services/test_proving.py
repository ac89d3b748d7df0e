"""When a node must show anew that it delivers, and how long one that failed is left alone."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import Conflict
from marketplace.events.models import Event
from nodes.models import CardOrder, Node, NodeProof
from nodes.services.inventory import record_inventory
from nodes.services.proving import prove_again, record_failed_proof, record_proven, wait_after
from tests.factories import NOON
from tests.nodes.builders import card_identity, make_inventory, make_node

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LATER = NOON + MINUTE


@given(st.integers(min_value=1, max_value=5000))
def test_waits_grow_to_a_day_and_stay_there(failures):
    assert MINUTE <= wait_after(failures) <= wait_after(failures + 1) <= DAY
    assert (wait_after(failures) == DAY) == (failures >= 6)


@pytest.fixture
def node(db):
    """Four cards, proven with them."""
    node, _ = make_node()
    node.firsts = [card_identity(index=index) for index in range(4)]
    say(node, node.firsts, NOON)
    return node


def say(node, cards, now):
    inventory = dataclasses.replace(make_inventory(), cards=list(cards))
    record_inventory(node_public_id=node.public_id, inventory=inventory, now=now)
    node.refresh_from_db()


@pytest.mark.parametrize(
    ("kept", "added", "is_proven"),
    [(4, 0, True), (4, 4, True), (4, 5, False), (2, 2, True), (1, 2, False), (1, 0, True), (0, 1, False), (0, 0, True)],
)
def test_it_is_proven_while_half_of_its_cards_were_there_then(node, kept, added, is_proven):
    say(node, [*node.firsts[:kept], *(card_identity() for _ in range(added))], LATER)
    assert bool(node.proven_at) == is_proven
    told = Event.objects.filter(type="node.unproven", subject=node.public_id, firm_id=node.firm_id)
    assert told.count() == (0 if is_proven else 1)


def test_cards_that_are_swapped_one_by_one_count_from_the_proof(node):
    cards = list(node.firsts)
    for number in range(3):
        cards[number] = card_identity(index=number)
        say(node, cards, LATER + number * MINUTE)
        assert bool(node.proven_at) == (number < 2)
    record_proven(node=node, lease="prv_1", now=LATER + 5 * MINUTE)
    say(node, cards[:2], LATER + 6 * MINUTE)
    assert node.proven_at == LATER + 5 * MINUTE


def test_of_a_node_whose_cards_then_are_not_known_nothing_is_doubted(node):
    CardOrder.objects.all().delete()
    Node.objects.filter(pk=node.pk).update(inventory={})
    say(node, [card_identity()], LATER)
    assert node.proven_at


def test_being_proven_is_told_once(db):
    node, _ = make_node(proven_at=None)
    record_failed_proof(node=node, reason="node_lost", detail="", counts=True, now=NOON)
    for _ in range(2):
        record_proven(node=node, lease="prv_1", now=LATER)
    node.refresh_from_db()
    assert (node.proven_at, NodeProof.objects.exists()) == (LATER, False)
    (event,) = Event.objects.filter(type="node.proven")
    assert (event.firm_id, event.data) == (node.firm_id, {"lease": "prv_1"})


def test_what_the_owner_took_back_makes_no_wait_longer(db):
    node, _ = make_node(proven_at=None)
    for counts, failures, wait in ((True, 1, 1), (True, 2, 5), (False, 2, 1), (True, 3, 30)):
        record_failed_proof(node=node, reason="x", detail="", counts=counts, now=NOON)
        proof = NodeProof.objects.get()
        assert (proof.failures, proof.next_at) == (failures, NOON + wait * MINUTE)


def test_who_asks_is_tried_at_once_unless_it_runs_or_is_proven(db):
    node, _ = make_node(proven_at=None)
    record_failed_proof(node=node, reason="x", detail="", counts=True, now=NOON)
    prove_again(node=node, actor="usr_1", now=NOON)
    assert NodeProof.objects.get().next_at == NOON
    record_proven(node=node, lease="prv_1", now=LATER)
    with pytest.raises(Conflict):
        prove_again(node=node, actor="usr_1", now=LATER)
