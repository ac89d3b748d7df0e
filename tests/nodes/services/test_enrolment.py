"""Tokens, proofs and nodes."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta

import pytest
from nacl.signing import SigningKey

from marketplace.common.errors import Conflict, Invalid, Unauthorised
from marketplace.events.models import Event
from nodes.agent import protocol
from nodes.agent.protocol import inventory_digest
from nodes.command_key import command_public_key
from nodes.models import Card, EnrolmentToken, Node, NodeReportState
from nodes.services.enrolment import create_enrolment_token, enrol, revoke_enrolment_token
from nodes.states import NodeState
from tests.factories import NOON, make_firm
from tests.nodes.builders import card_identity, enrol_request, make_inventory

pytestmark = pytest.mark.django_db
HOME = "192.0.2.7"


@pytest.fixture
def key():
    return SigningKey.generate()


def token_of(firm, **wanted):
    wanted = {"name": "rack 1", "uses": 1, "expires_at": NOON + timedelta(hours=1), "now": NOON} | wanted
    return create_enrolment_token(firm=firm, **wanted)


def test_a_host_becomes_a_node_with_its_cards_and_only_hashes_are_kept(key):
    firm = make_firm(country="FR")
    token, text = token_of(firm)
    inventory = make_inventory(card_identity(), card_identity())
    reply = enrol(request=enrol_request(text, key, inventory), address=HOME, now=NOON)
    node = Node.objects.get(public_id=reply.node)
    assert (node.firm, node.state, node.name, node.country) == (firm, NodeState.PENDING, "gpu-host", "FR")
    assert bytes(node.bearer_hash) == hashlib.sha256(reply.bearer.encode()).digest()
    assert node.inventory_digest == inventory_digest(inventory)
    assert reply.command_public_key == command_public_key()
    assert [card.uuid for card in node.cards.order_by("index")] == [card.uuid for card in inventory.cards]
    token.refresh_from_db()
    assert token.uses_left == 0
    assert text.startswith("fal_enrol_")
    assert text not in str(EnrolmentToken.objects.values_list())
    assert Event.objects.filter(type="node.enrolled", firm_id=firm.pk, subject=node.public_id).exists()


def test_the_same_host_may_ask_again_at_no_use_and_starts_its_reports_afresh(key):
    token, text = token_of(make_firm())
    request = enrol_request(text, key, make_inventory())
    first = enrol(request=request, address=HOME, now=NOON)
    node = Node.objects.get()
    NodeReportState.objects.create(node=node, run=2**62, seq=1, received_at=NOON, inventory_digest="")
    again = enrol(request=request, address=HOME, now=NOON)
    assert again.node == first.node
    assert again.bearer != first.bearer
    assert Node.objects.count() == 1
    assert not NodeReportState.objects.exists()
    token.refresh_from_db()
    assert token.uses_left == 0


def test_a_token_serves_no_more_hosts_than_it_says():
    _, text = token_of(make_firm(), uses=2)
    for _ in range(2):
        enrol(request=enrol_request(text, SigningKey.generate(), make_inventory()), address=HOME, now=NOON)
    with pytest.raises(Unauthorised, match="no uses left"):
        enrol(request=enrol_request(text, SigningKey.generate(), make_inventory()), address=HOME, now=NOON)
    assert sorted(Node.objects.values_list("name", flat=True)) == ["gpu-host", "gpu-host-2"]


@pytest.mark.parametrize("what", ["unknown", "expired", "revoked", "address", "malformed address", "proof", "key"])
def test_it_refuses_what_does_not_prove_itself(key, what):
    firm = make_firm()
    token, text = token_of(firm, addresses=["192.0.2.0/24", "2001:db8::/32"])
    request, address, now = enrol_request(text, key, make_inventory()), HOME, NOON
    if what == "unknown":
        request = enrol_request(text + "x", key, make_inventory())
    if what == "expired":
        now += timedelta(hours=1)
    if what == "revoked":
        revoke_enrolment_token(firm=firm, public_id=token.public_id, actor="usr_x", now=NOON)
    if what == "address":
        address = "198.51.100.7"
    if what == "malformed address":
        address = "unix:"
    if what == "proof":
        request = protocol.EnrolRequest(text, request.public_key, request.proof[:-4] + "AAA=", request.inventory)
    if what == "key":
        request = protocol.EnrolRequest(text, "AAAA", request.proof, request.inventory)
    with pytest.raises(Unauthorised):
        enrol(request=request, address=address, now=now)
    assert not Node.objects.exists()


def test_an_address_may_come_mapped_into_ipv6(key):
    _, text = token_of(make_firm(), addresses=["192.0.2.0/24"])
    enrol(request=enrol_request(text, key, make_inventory()), address="::ffff:192.0.2.9", now=NOON)
    assert Node.objects.count() == 1


def test_a_retired_host_and_one_of_another_firm_are_told_so(key):
    _, text = token_of(make_firm())
    enrol(request=enrol_request(text, key, make_inventory()), address=HOME, now=NOON)
    _, foreign = token_of(make_firm())
    with pytest.raises(Conflict, match="another firm"):
        enrol(request=enrol_request(foreign, key, make_inventory()), address=HOME, now=NOON)
    Node.objects.update(state=NodeState.RETIRED)
    with pytest.raises(Conflict, match="retired"):
        enrol(request=enrol_request(text, key, make_inventory()), address=HOME, now=NOON)


@pytest.mark.parametrize(
    "wrong",
    [{"uses": 0}, {"uses": 10**9}, {"expires_at": NOON}, {"addresses": ["here"]}, {"addresses": ["300.1.1.1/8"]}],
)
def test_a_token_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(Invalid):
        token_of(make_firm(), **wrong)


def test_an_inventory_that_lies_about_its_shape_uses_no_token_up(key):
    token, text = token_of(make_firm())
    one = card_identity()
    liars = [
        make_inventory(one, one),
        make_inventory(*(card_identity() for _ in range(65))),
        make_inventory(card_identity(uuid="GPU-\0-1")),
        make_inventory(card_identity(memory_total_mib=-1)),
        make_inventory(card_identity(memory_total_mib=10**30)),
        make_inventory(card_identity(name="\0")),
        make_inventory(card_identity(minor_number=10**40)),
        make_inventory(hostname=" "),
        make_inventory(hostname="x" * 5000),
        make_inventory(runtime="magic"),
    ]
    for inventory in liars:
        with pytest.raises(Invalid) as refusal:
            enrol(request=enrol_request(text, key, inventory), address=HOME, now=NOON)
        assert refusal.value.code == "bad_inventory"
    token.refresh_from_db()
    assert token.uses_left == 1
    assert not Card.objects.exists()


def test_names_stay_unique_within_the_firm_however_long():
    _, text = token_of(make_firm(), uses=3)
    for _ in range(3):
        inventory = make_inventory(hostname="h" * 90)
        enrol(request=enrol_request(text, SigningKey.generate(), inventory), address=HOME, now=NOON)
    names = set(Node.objects.values_list("name", flat=True))
    assert names == {"h" * 80, *("h" * 78 + f"-{number}" for number in itertools.islice(itertools.count(2), 2))}
