"""A card that changes what it is, and a card that is sold to another firm."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from hypothesis import given
from hypothesis import strategies as st

from marketplace.accounts.services import create_user
from marketplace.catalogue.models import GpuModel
from marketplace.common.errors import Conflict, Invalid, NotAllowed, NotFound, TooMany
from marketplace.events.models import Event
from nodes.agent.gpu import unread_sample
from nodes.agent.passport import ChallengeRequest
from nodes.agent.protocol import Health
from nodes.models import Card, CardState, CardTransfer, Claim, IdentityChange, IdentityConflict, Node, Passport
from nodes.passports.identity import KEPT, identity_changes, is_blocking, remembered
from nodes.selectors import answered_at_once, cards_with_another_identity, evidence_of, is_blocked, open_conflicts
from nodes.services.availability import process_reports
from nodes.services.conflicts import resolve_identity_conflict
from nodes.services.identity import accept_identity_change
from nodes.services.inventory import record_inventory, settle_arrivals
from nodes.services.measuring import PASSPORTS_PER_DAY
from nodes.services.passport_history import lease_history
from nodes.services.passports import issue_challenge, record_passport, take_answer
from nodes.services.transfers import end_transfer, expect_card
from nodes.states import ClaimKind, NodeState
from tests.factories import NOON, make_firm
from tests.nodes.builders import HEALTHY, card_identity, heard, make_inventory, make_node
from tests.nodes.passports.measuring import Measurer

SEEN = {
    "serial": "1650522003820",
    "pci_subsystem_id": "1043:889a",
    "vbios": "95.02.3c.00.01",
    "board_part_number": "900-1G136",
    "bar1_total_mib": 256,
    "compute_capability": "8.9",
}
UUID = "GPU-6f2c0000-0000-4000-8000-000000000001"
LATER = NOON + timedelta(hours=1)
VALUES = st.none() | st.text("ab", min_size=1, max_size=2)


def say(node, *cards, now=NOON):
    record_inventory(node_public_id=node.public_id, inventory=make_inventory(*cards), now=now)
    node.refresh_from_db()


@pytest.fixture
def node(db):
    node, _ = make_node()
    say(node, card_identity(UUID, **SEEN))
    return node


@pytest.mark.parametrize(
    ("name", "value", "blocks"),
    [
        ("serial", "1650522003821", True),
        ("pci_subsystem_id", "1462:5110", True),
        ("pci_device_id", "10de:2685", True),
        ("vbios", "95.02.18.00.01", True),
        ("board_part_number", "900-1G137", True),
        ("memory_total_mib", 49140, True),
        ("compute_capability", "8.6", True),
        ("bar1_total_mib", 32768, False),
        ("name", "NVIDIA GeForce RTX 4090 Laptop", False),
    ],
)
def test_every_change_is_an_event_and_the_grave_ones_block(node, name, value, blocks):
    Card.objects.update(tier="measured")
    say(node, card_identity(UUID, **(SEEN | {name: value})), now=LATER)
    card = Card.objects.get()
    event = Event.objects.get(type="card.identity_changed")
    assert (event.firm_id, event.subject) == (node.firm_id, card.public_id)
    assert set(event.data["changes"]) - {"model"} == {name}
    assert is_blocked(card) is blocks
    assert card.tier == ("declared" if blocks else "measured")


def test_a_card_does_not_become_another_model_by_hiding_its_id(node):
    say(node, card_identity(UUID, **(SEEN | {"name": "NVIDIA GeForce RTX 3090", "pci_device_id": None})), now=LATER)
    card = Card.objects.get()
    assert (card.gpu_model.slug, is_blocked(card)) == ("rtx-4090", False)


def test_what_makes_another_model_of_a_card_blocks_it(db):
    node, _ = make_node()
    say(node, card_identity(UUID, **(SEEN | {"pci_device_id": None})))
    say(node, card_identity(UUID, **(SEEN | {"name": "NVIDIA GeForce RTX 3090", "pci_device_id": None})), now=LATER)
    card = Card.objects.get()
    assert IdentityChange.objects.get().changes["model"] == ["rtx-4090", "rtx-3090"]
    assert (card.gpu_model.slug, is_blocked(card)) == ("rtx-3090", True)


def test_a_catalogue_that_learned_a_card_blocks_nobody(node):
    Card.objects.update(gpu_model=GpuModel.objects.get(slug="rtx-3090"))
    say(node, card_identity(UUID, **SEEN), now=LATER)
    assert Card.objects.get().gpu_model.slug == "rtx-4090"
    assert not IdentityChange.objects.exists()


def test_saying_the_same_or_less_is_no_change_and_nothing_is_forgotten(node):
    say(node, card_identity(UUID, **(SEEN | {"serial": None, "vbios": None})), now=LATER)
    assert not IdentityChange.objects.exists()
    assert Card.objects.get().identity["serial"] == SEEN["serial"]
    say(node, card_identity(UUID, **(SEEN | {"serial": "1650522003821"})), now=LATER)
    assert IdentityChange.objects.get().changes == {"serial": [SEEN["serial"], "1650522003821"]}


def test_a_changed_card_is_not_idle_until_an_operator_has_looked(node):
    def look():
        for seq in range(70):
            heard(node, NOON - timedelta(seconds=5 * (70 - seq)), seq + 1, [HEALTHY])
        process_reports(now=NOON)
        return CardState.objects.get().availability

    node.inventory_at = NOON - timedelta(hours=1)
    node.save()
    assert look() == "idle"
    say(node, card_identity(UUID, **(SEEN | {"serial": "1650522003821"})), now=NOON - timedelta(hours=1))
    (version,) = CardState.objects.values_list("version", flat=True)
    assert look() == "draining"
    assert look() == "draining"
    assert CardState.objects.get().version == version + 1
    change = IdentityChange.objects.get()
    with pytest.raises(NotAllowed):
        accept_identity_change(change=change, operator=create_user(email="a@b.example", password="x" * 12), now=NOON)
    operator = create_user(email="op@b.example", password="correct horse battery", is_operator=True)
    accept_identity_change(change=change, operator=operator, now=NOON)
    with pytest.raises(Conflict):
        accept_identity_change(change=change, operator=operator, now=NOON)
    assert not is_blocked(Card.objects.get())
    assert look() == "idle"


def sold_to(firm):
    card = Card.objects.get(uuid=UUID)
    Claim.objects.create(card=card, period=DateTimeTZRange(NOON, None), kind=ClaimKind.SALE, holder="sale_1")
    expect_card(card=card, to_firm=firm, holder="sale_1", now=NOON)
    return card


def test_a_sold_card_moves_to_the_buyers_host_once_it_is_out_of_the_sellers(node):
    buyers, _ = make_node()
    card = sold_to(buyers.firm)
    say(node, now=NOON)  # it was taken out
    say(buyers, card_identity(UUID, **SEEN), now=LATER)
    card.refresh_from_db()
    assert (card.firm, card.node, buyers.state) == (buyers.firm, buyers, NodeState.ONLINE)
    assert not IdentityConflict.objects.exists()
    expect_card(card=card, to_firm=node.firm, holder="sale_1", now=LATER)  # and back, after a dispute
    say(buyers, now=LATER)
    say(node, card_identity(UUID, **SEEN), now=LATER)
    card.refresh_from_db()
    assert card.firm == node.firm
    end_transfer(card=card, holder="sale_1", now=LATER)


def test_a_clone_is_a_conflict_even_where_the_card_is_expected_but_its_receiver_is_not_in_doubt(node):
    buyers, _ = make_node()
    card = sold_to(buyers.firm)
    say(buyers, card_identity(UUID, **SEEN), now=NOON)
    assert IdentityConflict.objects.get().newcomer == buyers
    assert (Card.objects.get().node, buyers.state, is_blocked(card)) == (node, NodeState.ONLINE, False)
    assert settle_arrivals(now=NOON) == 0


@pytest.mark.parametrize("ends", ["no longer names it", "can not read it", "is silent", "is lost"])
def test_a_sold_card_is_its_buyers_as_soon_as_the_sellers_host_lets_go(node, ends):
    """The buyer's host names it once, before the seller's agent has noticed that the card is gone."""
    buyers, _ = make_node()
    sold_to(buyers.firm)
    heard(node, NOON, 1, [HEALTHY])
    say(buyers, card_identity(UUID, **SEEN), now=NOON)
    now = NOON + timedelta(seconds=5)
    if ends == "no longer names it":
        say(node, card_identity(), now=now)
    elif ends == "can not read it":
        heard(node, now, 2, [[math.nan if each is None else each for each in unread_sample(Health.LOST)]])
        process_reports(now=now)
    elif ends == "is silent":
        now = NOON + timedelta(minutes=1)
    else:
        Node.objects.filter(pk=node.pk).update(state=NodeState.LOST)
    assert [settle_arrivals(now=now) for _ in range(2)] == [1, 0]
    card = Card.objects.get(uuid=UUID)
    assert (card.node, card.firm, buyers.state) == (buyers, buyers.firm, NodeState.ONLINE)
    assert IdentityConflict.objects.get().ruling == "arrived"
    assert CardTransfer.objects.get().arrived_at == now
    later = now + timedelta(minutes=1)
    before = lease_history(card, None, now=later)["reports_seen"]
    heard(buyers, now + timedelta(seconds=1), 1, [HEALTHY])
    assert lease_history(card, None, now=later)["reports_seen"] == before + 1


def test_who_was_sent_a_wrong_card_is_not_in_doubt(node):
    """A seller of many like cards takes another one out of his host than the one that was sold."""
    buyers, _ = make_node()
    wrong = card_identity()
    say(node, card_identity(UUID, **SEEN), wrong)
    card = Card.objects.get(uuid=UUID)
    Claim.objects.create(card=card, period=DateTimeTZRange(NOON, None), kind=ClaimKind.SALE, holder="sale_1")
    expect_card(card=card, to_firm=buyers.firm, holder="sale_1", now=NOON)
    say(node, card_identity(UUID, **SEEN))
    say(buyers, wrong)
    assert (IdentityConflict.objects.get().card.uuid, buyers.state) == (wrong.uuid, NodeState.ONLINE)
    assert settle_arrivals(now=NOON) == 0 and Card.objects.get(uuid=wrong.uuid).firm == node.firm
    strangers, _ = make_node()
    say(strangers, wrong)
    assert strangers.state == NodeState.QUARANTINED


def test_for_a_sale_no_card_is_measured_that_can_not_have_come_in_its_parcel(node):
    """It would open a dispute with a seller who did nothing wrong."""
    buyers, _ = make_node()
    old, own, came = card_identity(), card_identity(), card_identity(UUID, **SEEN)
    say(buyers, old, now=NOON - timedelta(hours=1))
    sold_to(buyers.firm)
    with pytest.raises(Conflict, match="was here before"):
        issue_challenge(node=buyers, request=ChallengeRequest(old.uuid, "buyer", "sale_1"), now=NOON)
    say(buyers, old, own)
    ask = ChallengeRequest(own.uuid, "buyer", "sale_1")
    assert issue_challenge(node=buyers, request=ask, now=NOON)  # what came may be another card
    say(node, card_identity())
    say(buyers, own, came)
    with pytest.raises(Conflict, match=UUID):
        issue_challenge(node=buyers, request=ask, now=NOON)
    for subject, uuid in (("sale_1", UUID), ("sale_2", own.uuid), ("", own.uuid)):
        assert issue_challenge(node=buyers, request=ChallengeRequest(uuid, "buyer", subject), now=LATER)


def test_a_host_that_goes_on_naming_a_card_that_left_it_is_not_in_doubt(node):
    """Its agent remembers for some minutes a card that its driver lost; whatever else changes there is told with it."""
    buyers, _ = make_node()
    sold_to(buyers.firm)
    CardState.objects.update(availability="lost", reasons=["gpu_lost"])
    say(buyers, card_identity(UUID, **SEEN), now=NOON)
    assert Card.objects.get().node == buyers
    for _ in range(2):
        say(node, card_identity(UUID, **SEEN), card_identity(), now=LATER)
    assert (node.state, IdentityConflict.objects.exists()) == (NodeState.ONLINE, False)
    say(node, now=LATER)
    say(node, card_identity(UUID, **SEEN), now=LATER)  # it was not there, and now it is: a clone
    assert (node.state, IdentityConflict.objects.get().newcomer) == (NodeState.QUARANTINED, node)


def test_a_receiver_whose_host_is_gone_gets_nothing(node):
    buyers, _ = make_node()
    sold_to(buyers.firm)
    say(buyers, card_identity(UUID, **SEEN), now=NOON)
    say(node, card_identity(), now=NOON)
    Node.objects.filter(pk=buyers.pk).update(state=NodeState.LOST)
    assert settle_arrivals(now=NOON) == 0
    Node.objects.filter(pk=buyers.pk).update(state=NodeState.ONLINE)
    say(buyers, card_identity(), now=NOON)
    assert settle_arrivals(now=NOON) == 0


def test_an_operator_may_give_a_sold_card_to_whom_it_was_sent_and_to_nobody_else(node):
    """A seller can make his host name it for ever."""
    buyers, strangers = make_node()[0], make_node()[0]
    sold_to(buyers.firm)
    for newcomer in (strangers, buyers):
        say(newcomer, card_identity(UUID, **SEEN), now=NOON)
    theirs, his = open_conflicts(NOON)
    assert [(each.is_claimed, each.is_awaited) for each in (theirs, his)] == [(True, False), (False, True)]
    operator = create_user(email="op@b.example", password="correct horse battery", is_operator=True)
    with pytest.raises(Conflict, match="sold"):
        resolve_identity_conflict(conflict=theirs, ruling="move", operator=operator, now=NOON)
    resolve_identity_conflict(conflict=his, ruling="move", operator=operator, now=NOON)
    assert Card.objects.get().node == buyers


def test_a_stranger_who_names_a_cards_uuid_takes_nobody_out_of_the_market(node):
    Measurer(NOON, uuid=UUID)
    card = Card.objects.get()
    assert (card.node, IdentityConflict.objects.get().newcomer.state) == (node, NodeState.QUARANTINED)
    assert not is_blocked(card)
    assert cards_with_another_identity([card.pk]) == set()


@pytest.mark.parametrize(
    "uuid", ["MIG-6f2c0000-0000-4000-8000-000000000001", UUID.upper(), "gpu-6f2c0000-0000-4000-8000-000000000001"]
)
def test_a_slice_and_another_spelling_of_a_uuid_are_no_new_card(node, uuid):
    with pytest.raises(Invalid) as caught:
        say(node, card_identity(uuid, **SEEN))
    assert caught.value.errors[0].pointer == "/inventory/cards/0/uuid"
    assert Card.objects.count() == 1


def test_nobody_else_takes_a_card_that_is_on_its_way(node):
    buyers, strangers = make_node()[0], make_node()[0]
    card = sold_to(buyers.firm)
    say(node, now=NOON)
    say(strangers, card_identity(UUID, **SEEN), now=LATER)
    assert IdentityConflict.objects.get().newcomer == strangers
    with pytest.raises(Conflict):
        expect_card(card=card, to_firm=make_firm(), holder="sale_2", now=NOON)


@given(st.dictionaries(st.sampled_from(KEPT), VALUES), st.dictionaries(st.sampled_from(KEPT), VALUES))
def test_what_is_remembered_never_differs_from_what_was_said(known, said):
    kept = remembered(known, said)
    assert identity_changes(said, kept) == {}
    assert {name for name, value in kept.items() if value} >= {name for name, value in known.items() if value}
    assert bool(identity_changes(known, said)) == is_blocking(identity_changes(known, said))


@pytest.mark.django_db
def test_two_hosts_that_answer_at_once_have_two_cards():
    first = Measurer(NOON)
    clone = Measurer(NOON, uuid=first.uuid)
    conflict = IdentityConflict.objects.get()
    assert (conflict.card.node, conflict.newcomer) == (first.node, clone.node)
    posts = [host.answer(host.challenge(NOON)) for host in (first, clone)]
    taken = [
        take_answer(node=host.node, post=post, now=NOON + timedelta(minutes=3 + number))
        for number, (host, post) in enumerate(zip((first, clone), posts, strict=True))
    ]
    assert [isinstance(each, Passport) for each in taken] == [True, False]
    evidence = evidence_of(conflict)
    assert {each.node for each in evidence} == {first.node, clone.node}
    assert answered_at_once(evidence)
    assert not answered_at_once(evidence[:1])
    with pytest.raises(Conflict):
        take_answer(node=clone.node, post=posts[1], now=NOON + timedelta(minutes=5))
    with pytest.raises(NotFound):
        record_passport(node=clone.node, post=posts[1], now=NOON + timedelta(minutes=5))
    assert Passport.objects.count() == 1


@pytest.mark.django_db
def test_two_answers_one_after_the_other_prove_nothing():
    first = Measurer(NOON)
    clone = Measurer(NOON, uuid=first.uuid)
    for number, host in enumerate((first, clone)):
        asked = NOON + timedelta(minutes=10 * number)
        take_answer(node=host.node, post=host.answer(host.challenge(asked)), now=asked + timedelta(minutes=3))
    assert not answered_at_once(evidence_of(IdentityConflict.objects.get()))


@pytest.mark.django_db
def test_a_newcomer_does_not_fill_the_evidence():
    first = Measurer(NOON)
    clone = Measurer(NOON, uuid=first.uuid)
    for number in range(PASSPORTS_PER_DAY):
        asked = NOON + timedelta(minutes=number)
        take_answer(node=clone.node, post=clone.answer(clone.challenge(asked)), now=asked + timedelta(minutes=3))
    post = clone.answer(clone.challenge(NOON))
    with pytest.raises(TooMany):
        take_answer(node=clone.node, post=post, now=NOON + timedelta(minutes=3))


class Beside(threading.Thread):
    """Something that is done at the same time, and begins when it is started; `failed` is what came of it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.failed = work, None

    def run(self):
        try:
            self.work()
        except Exception as error:  # told by the test
            self.failed = error
        finally:
            connections.close_all()

    def start_and_let_it_wait(self):
        self.start()
        while not waits_for_a_lock():
            time.sleep(0.01)


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


@pytest.mark.django_db(transaction=True)
def test_an_operator_rules_while_the_newcomer_measures():
    """Both need the card and the conflict; whoever is second waits, and neither is thrown out by the database."""
    first = Measurer(NOON)
    clone = Measurer(NOON, uuid=first.uuid)
    conflict = IdentityConflict.objects.get()
    operator = create_user(email="op@b.example", password="correct horse battery", is_operator=True)
    post = clone.answer(clone.challenge(NOON))
    ruling = Beside(lambda: resolve_identity_conflict(conflict=conflict, ruling="keep", operator=operator, now=LATER))
    with transaction.atomic():
        Card.objects.select_for_update(no_key=True).get()
        ruling.start_and_let_it_wait()
        take_answer(node=clone.node, post=post, now=NOON + timedelta(minutes=3))
    ruling.join()
    assert ruling.failed is None
    assert IdentityConflict.objects.get().ruling == "keep"
    assert len(evidence_of(conflict)) == 1


@pytest.mark.django_db(transaction=True)
def test_an_inventory_locks_cards_in_the_order_of_everybody_else():
    """A listing is opened while its host reports the cards in another order than they were made in."""
    node, _ = make_node()
    uuids = [f"GPU-00000000-0000-4000-8000-00000000000{number}" for number in (2, 1)]
    for count in (1, 2):
        say(node, *(card_identity(uuid) for uuid in uuids[:count]))
    first, second = Card.objects.order_by("pk")
    assert first.uuid > second.uuid
    report = Beside(lambda: say(node, *(card_identity(uuid) for uuid in uuids), now=LATER))
    with transaction.atomic():
        Card.objects.select_for_update(no_key=True).get(pk=first.pk)
        report.start_and_let_it_wait()
        Card.objects.select_for_update(no_key=True).get(pk=second.pk)
    report.join()
    assert report.failed is None
