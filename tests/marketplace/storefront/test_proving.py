"""What an owner and an operator read about a node that is not proven."""

from __future__ import annotations

import pytest
from django.urls import reverse

from marketplace.storefront.proving import REASONS
from nodes.agent.protocol import FailureReason, Phase
from nodes.models import Node, NodeProof
from tests.factories import make_person

pytestmark = pytest.mark.django_db
FLEET, OPERATOR = reverse("storefront:fleet"), reverse("storefront:operator")


@pytest.fixture
def market(scene):
    return scene.market


@pytest.fixture
def host(market):
    return market.host(count=1, proven_at=None)


@pytest.fixture
def seller(client, scene):
    client.force_login(scene.seller)
    return client


def read(client, path=FLEET):
    return client.get(path).content.decode()


def fail(market, host, reason=FailureReason.GPU_NOT_VISIBLE, **said):
    market.list_cards_without_round(host)
    market.tick()
    host.ack(market.clock.now(), Phase.FAILED, reason=reason, memory_at_baseline=True, **said)
    market.tick()


def test_proven_nodes_say_nothing_of_it(seller):
    assert "Not offered yet" not in read(seller) and "of our own" not in read(seller)


def test_an_owner_reads_what_happens_and_how_long_it_takes(seller, market, host):
    page = read(seller)
    assert "a short lease of our own must run on it" in page and "takes about 2 min" in page
    assert "begins when a card of this host is listed" in page
    market.list_cards_without_round(host)
    assert "begins by itself when a listed card has been idle" in read(seller)
    Node.objects.filter(pk=host.node.pk).update(runtime="none")
    assert "the agent has no container engine" in read(seller)
    Node.objects.filter(pk=host.node.pk).update(runtime="docker", is_draining=True)
    assert "begins when you end the draining" in read(seller)
    Node.objects.filter(pk=host.node.pk).update(is_draining=False)
    market.tick()
    assert "A lease of our own runs here now" in read(seller)


def test_an_owner_reads_what_failed_and_what_to_do_and_tries_again(seller, market, host):
    fail(market, host, detail="inside are <none>")
    page = read(seller)
    assert "The container started, but the card was not in it." in page and "NVIDIA Container Toolkit" in page
    assert "inside are &lt;none&gt;" in page and "tried again" in page
    path = reverse("storefront:node-prove", args=[host.node.public_id])
    assert path in page
    assert seller.post(path).status_code == 302
    assert NodeProof.objects.get().next_at == market.clock.now()


def test_what_he_took_back_is_not_held_against_him(seller, market, host):
    fail(market, host, FailureReason.OWNER_STOPPED)
    page = read(seller)
    assert "You took the card back while our own lease ran" in page and "Try again" not in page


def test_only_who_manages_the_fleet_tries_again(client, market, host, scene):
    fail(market, host)
    path = reverse("storefront:node-prove", args=[host.node.public_id])
    client.force_login(make_person(market.alice, "viewer"))
    assert path not in read(client)
    assert client.post(path).status_code == 403
    client.force_login(scene.buyer)
    assert client.post(path).status_code == 404
    assert NodeProof.objects.get().next_at > market.clock.now()


def test_operators_see_the_nodes_that_fail(client, scene, market, host):
    client.force_login(scene.operator)
    assert "our own leases fail" not in read(client, OPERATOR)
    fail(market, host, detail="inside are none")
    page = read(client, OPERATOR)
    assert "our own leases fail" in page and host.node.public_id in page and market.alice.name in page
    assert "The container started, but the card was not in it" in page


def test_every_reason_of_an_agent_has_words():
    assert {each.value for each in FailureReason} - set(REASONS) <= {"internal", "lease_ttl_lapsed", "owner_stopped"}
