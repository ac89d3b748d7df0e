"""Cards are known by UUID, recognised, and on one node at a time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.accounts.services import create_user
from marketplace.common.errors import Conflict, Invalid, NotAllowed
from nodes.models import Card, CardState, Claim, IdentityConflict, Node, NodeReportState
from nodes.services.conflicts import release_quarantine, resolve_identity_conflict
from nodes.services.inventory import record_inventory
from nodes.states import Availability, ClaimKind, NodeState
from tests.factories import NOON, make_firm
from tests.nodes.builders import card_identity, make_inventory, make_node

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def catalogue():
    call_command("load_catalogue", verbosity=0)


def say(node, *cards, now=NOON, **values):
    record_inventory(node_public_id=node.public_id, inventory=make_inventory(*cards, **values), now=now)
    node.refresh_from_db()


def reported(node, at=NOON):
    NodeReportState.objects.update_or_create(
        node=node, defaults={"run": 1, "seq": 1, "received_at": at, "inventory_digest": ""}
    )


@pytest.fixture
def operator():
    return create_user(email="op@example.org", password="correct horse battery", is_operator=True)


def test_a_factory_card_and_a_modified_one_are_told_apart():
    node, _ = make_node()
    say(
        node,
        card_identity(),
        card_identity(name="NVIDIA GeForce RTX 4090 D", pci_device_id="10de:2685", memory_total_mib=49140),
        card_identity(name="NVIDIA Imaginary 9000", pci_device_id="10de:ffff", memory_total_mib=1000),
    )
    factory, modified, unknown = node.cards.order_by("index")
    assert (factory.is_modified, factory.gpu_model.slug) == (False, "rtx-4090")
    assert (modified.is_modified, modified.memory_mib) == (True, 49140)
    assert modified.gpu_model.slug.startswith("rtx-4090-d")
    assert unknown.gpu_model.slug.startswith("unlisted-")
    assert CardState.objects.get(card=factory).availability == Availability.LOST


@pytest.mark.parametrize(
    ("name", "value", "pointer"),
    [
        ("cpu_count", 2**33, "/inventory/cpu_count"),
        ("cpu_count", -1, "/inventory/cpu_count"),
        ("memory_mib", 2**31, "/inventory/memory_mib"),
        ("disk_free_gib", 2**31, "/inventory/disk_free_gib"),
        ("index", -1, "/inventory/cards/0/index"),
        ("memory_total_mib", 2**31, "/inventory/cards/0/memory_total_mib"),
        ("memory_reserved_mib", 2**31, "/inventory/cards/0/memory_reserved_mib"),
        ("bar1_total_mib", 2**31, "/inventory/cards/0/bar1_total_mib"),
        ("minor_number", 2**31, "/inventory/cards/0/minor_number"),
        ("power_limit_w", 2**31, "/inventory/cards/0/power_limit_w"),
        ("pcie_generation_max", 2**31, "/inventory/cards/0/pcie_generation_max"),
        ("pcie_width_max", 2**31, "/inventory/cards/0/pcie_width_max"),
    ],
)
def test_a_number_that_no_host_can_have_is_refused_by_name(name, value, pointer):
    node, _ = make_node()
    of_card = "/cards/" in pointer
    inventory = make_inventory(card_identity(**{name: value})) if of_card else make_inventory(**{name: value})
    with pytest.raises(Invalid) as refusal:
        record_inventory(node_public_id=node.public_id, inventory=inventory, now=NOON)
    assert [error.pointer for error in refusal.value.errors] == [pointer]
    assert not Card.objects.exists()


def test_the_order_of_the_cards_is_dated_only_when_it_changes():
    node, _ = make_node()
    one, two = card_identity(), card_identity()
    say(node, one, two)
    say(node, one, two, now=NOON + timedelta(hours=1), driver_version="590.1")
    assert node.inventory_at == NOON
    say(node, two, one, now=NOON + timedelta(hours=2))
    assert node.inventory_at == NOON + timedelta(hours=2)
    assert [card.uuid for card in node.cards.order_by("index")] == [two.uuid, one.uuid]
    assert Card.objects.count() == 2


def test_the_node_with_the_history_keeps_its_card_and_the_newcomer_is_quarantined():
    old, _ = make_node()
    card = card_identity()
    say(old, card)
    reported(old)
    newcomer, _ = make_node(firm=old.firm, state=NodeState.PENDING)
    for _ in range(2):
        say(newcomer, card, card_identity(), now=NOON + timedelta(seconds=10))
    assert Card.objects.get(uuid=card.uuid).node == old
    assert newcomer.state == NodeState.QUARANTINED
    assert card.uuid in newcomer.quarantine_reason
    assert old.state == NodeState.ONLINE
    assert IdentityConflict.objects.get().newcomer == newcomer


@pytest.mark.parametrize("why", ["lost", "retired", "silent"])
def test_a_card_moves_within_its_firm_when_it_is_gone_from_where_it_was(why):
    state = {"lost": NodeState.LOST, "retired": NodeState.RETIRED}.get(why, NodeState.ONLINE)
    old, _ = make_node(state=state)
    card = card_identity()
    say(old, card)
    reported(old, NOON - timedelta(seconds=31 if why == "silent" else 0))
    newcomer, _ = make_node(firm=old.firm)
    say(newcomer, card)
    assert Card.objects.get(uuid=card.uuid).node == newcomer
    assert newcomer.state == NodeState.ONLINE


@pytest.mark.parametrize("why", ["not named", "not read", "sold"])
def test_a_card_moves_within_its_firm_while_its_old_host_goes_on(why):
    """A host with other cards stays online when one is taken out, and its agent may name that one for a while."""
    old, _ = make_node()
    card, other = card_identity(), card_identity()
    say(old, card, other)
    reported(old)
    if why == "not read":
        CardState.objects.filter(card__uuid=card.uuid).update(availability="lost", reasons=["gpu_lost"])
    else:
        say(old, other)
    if why == "sold":
        sold = Card.objects.get(uuid=card.uuid)
        Claim.objects.create(card=sold, period=DateTimeTZRange(NOON, None), kind=ClaimKind.SALE, holder="sale_1")
    newcomer, _ = make_node(firm=old.firm)
    say(newcomer, card)
    assert Card.objects.get(uuid=card.uuid).node == newcomer
    assert (newcomer.state, IdentityConflict.objects.exists()) == (NodeState.ONLINE, False)


@pytest.mark.parametrize("why", ["another firm's", "leased"])
def test_a_card_of_a_lost_node_does_not_move_when(why):
    old, _ = make_node(state=NodeState.LOST)
    card = card_identity()
    say(old, card)
    if why == "leased":
        period = DateTimeTZRange(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
        Claim.objects.create(card=Card.objects.get(), period=period, kind=ClaimKind.LEASE, holder="lse_1")
    newcomer, _ = make_node(firm=old.firm if why == "leased" else make_firm())
    say(newcomer, card)
    assert Card.objects.get(uuid=card.uuid).node == old
    assert newcomer.state == NodeState.QUARANTINED


def test_an_operator_rules_and_releases(operator):
    old, _ = make_node()
    card = card_identity()
    say(old, card)
    reported(old)
    newcomer, _ = make_node()
    say(newcomer, card)
    conflict = IdentityConflict.objects.get()
    with pytest.raises(Conflict):
        release_quarantine(node=newcomer, operator=operator, now=NOON)
    with pytest.raises(Invalid):
        resolve_identity_conflict(conflict=conflict, ruling="share", operator=operator, now=NOON)
    resolve_identity_conflict(conflict=conflict, ruling="move", operator=operator, now=NOON)
    moved = Card.objects.get()
    assert (moved.node, moved.firm) == (newcomer, newcomer.firm)
    release_quarantine(node=newcomer, operator=operator, now=NOON)
    assert Node.objects.get(pk=newcomer.pk).state == NodeState.PENDING
    with pytest.raises(Conflict):
        resolve_identity_conflict(conflict=conflict, ruling="keep", operator=operator, now=NOON)


def test_a_leased_card_is_not_moved_by_a_ruling_and_only_operators_rule(operator):
    old, _ = make_node()
    card = card_identity()
    say(old, card)
    reported(old)
    newcomer, _ = make_node()
    say(newcomer, card)
    Claim.objects.create(
        card=Card.objects.get(), period=DateTimeTZRange(NOON, None), kind=ClaimKind.SALE, holder="sale_1"
    )
    conflict = IdentityConflict.objects.get()
    with pytest.raises(Conflict, match="sold"):
        resolve_identity_conflict(conflict=conflict, ruling="move", operator=operator, now=NOON)
    nobody = create_user(email="no@example.org", password="correct horse battery")
    with pytest.raises(NotAllowed):
        resolve_identity_conflict(conflict=conflict, ruling="keep", operator=nobody, now=NOON)
    resolve_identity_conflict(conflict=conflict, ruling="keep", operator=operator, now=NOON)
    assert Card.objects.get().node == old
