"""What operators decide, through their page."""

from datetime import timedelta

import pytest
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.urls import reverse

from marketplace.events.models import Event
from marketplace.ledger.models import AccountKind
from marketplace.ledger.selectors import balance_micros
from marketplace.payments.services import cancel_deposit
from nodes.models import Claim, IdentityChange, IdentityConflict, Node
from nodes.selectors import is_blocked
from nodes.states import ClaimKind, NodeState
from tests.market import USD

pytestmark = pytest.mark.django_db


def url(name, *args):
    return reverse(f"storefront:{name}", args=args)


@pytest.fixture
def operator(client, scene):
    client.force_login(scene.operator)
    return client


@pytest.fixture
def conflict(scene):
    found = IdentityConflict.objects.get()
    inventory = {"cards": [{"uuid": found.card.uuid}]}
    Node.objects.filter(pk=found.newcomer_id).update(inventory=inventory)
    return found


def test_an_operator_confirms_a_deposit_and_nobody_else_can(client, scene):
    path = url("deposit-confirm", scene.deposit.public_id)
    client.force_login(scene.buyer)
    assert client.post(path).status_code == 404
    before = balance_micros(firm=scene.market.bob, kind=AccountKind.WALLET, currency="USD")
    client.force_login(scene.operator)
    client.post(path)
    client.post(path)
    after = balance_micros(firm=scene.market.bob, kind=AccountKind.WALLET, currency="USD")
    assert after - before == 250 * USD


def test_a_late_wire_is_found_by_its_reference(operator, scene):
    cancel_deposit(firm=scene.market.bob, deposit_id=scene.deposit.public_id, now=scene.market.clock.now())
    path = url("deposit-confirm", scene.deposit.public_id)
    assert path not in operator.get(url("operator")).content.decode()
    written = scene.deposit.reference.lower()
    assert path in operator.get(url("operator"), {"reference": f"{written[:4]} {written[4:]}"}).content.decode()
    assert "No deposit has this" in operator.get(url("operator"), {"reference": "RF00\0"}).content.decode()
    operator.post(path)
    assert path not in operator.get(url("operator"), {"reference": written}).content.decode()


def test_the_operator_rules_on_a_card_and_releases_the_newcomer(operator, scene, conflict):
    page = operator.get(url("operator")).content.decode()
    newcomer, card = conflict.newcomer, conflict.card
    assert "One card on two nodes" in page and card.uuid in page
    assert "Rule on its cards first" in page
    refused = operator.post(url("node-release", newcomer.public_id), follow=True).content.decode()
    assert "Decide about its identity conflicts first." in refused
    assert (
        "Ruled."
        in operator.post(url("conflict-rule", conflict.public_id), {"ruling": "keep"}, follow=True).content.decode()
    )
    card.refresh_from_db()
    assert card.node == scene.hosts[1].node
    released = operator.post(url("node-release", newcomer.public_id), follow=True).content.decode()
    assert "is released" in released and "No node is in quarantine." in released
    newcomer.refresh_from_db()
    assert newcomer.state == NodeState.PENDING
    assert Event.objects.filter(type="card.conflict_resolved", reason="keep", actor=scene.operator.public_id).exists()
    assert Event.objects.filter(type="node.pending", actor=scene.operator.public_id).exists()


def test_the_card_moves_to_the_newcomer_unless_it_is_claimed(operator, scene, conflict):
    now = scene.market.clock.now()
    period = DateTimeTZRange(now, now + timedelta(hours=1))
    claim = Claim.objects.create(card=conflict.card, period=period, kind=ClaimKind.LEASE, holder="lse_1")
    path = url("conflict-rule", conflict.public_id)
    page = operator.get(url("operator")).content.decode()
    assert "1 lease; leased or sold now" in page and "Yes, give it to" not in page
    assert "leased or sold where it is" in operator.post(path, {"ruling": "move"}, follow=True).content.decode()
    claim.delete()
    assert "0 leases</dd>" in (page := operator.get(url("operator")).content.decode()) and "Yes, give it to" in page
    assert "Ruled." in operator.post(path, {"ruling": "move"}, follow=True).content.decode()
    conflict.card.refresh_from_db()
    assert (conflict.card.node, conflict.card.firm) == (conflict.newcomer, conflict.newcomer.firm)


@pytest.mark.parametrize("ruling", ["", "share"])
def test_a_ruling_that_is_none_changes_nothing(operator, conflict, ruling):
    path = url("conflict-rule", conflict.public_id)
    assert "A ruling is keep or move." in operator.post(path, {"ruling": ruling}, follow=True).content.decode()
    conflict.refresh_from_db()
    assert conflict.resolved_at is None


def test_for_everybody_else_these_pages_do_not_exist(client, scene, conflict):
    paths = [url("conflict-rule", conflict.public_id), url("node-release", conflict.newcomer.public_id)]
    assert [client.post(path).status_code for path in paths] == [302, 302]
    client.force_login(scene.seller)
    assert [client.post(path, {"ruling": "move"}).status_code for path in paths] == [404, 404]
    client.force_login(scene.operator)
    missing = [url("conflict-rule", "idc_0"), url("node-release", "node_0")]
    assert [client.post(path, {"ruling": "move"}).status_code for path in missing] == [404, 404]
    conflict.refresh_from_db()
    assert conflict.resolved_at is None


def test_an_operator_accepts_a_card_that_says_it_is_another(client, scene, operator):
    card = scene.hosts[0].cards[0]
    change = IdentityChange.objects.create(
        card=card, node=card.node, changes={"serial": ["1", "2"]}, is_blocking=True, seen_at=scene.market.clock.now()
    )
    assert "A card that says it is another" in operator.get(url("operator")).content.decode()
    assert is_blocked(card)
    path = url("identity-accept", change.public_id)
    client.force_login(scene.seller)
    assert client.post(path).status_code == 404
    client.force_login(scene.operator)
    assert client.post(path).status_code == 302
    assert not is_blocked(card)
    assert "Accept what it says" not in client.get(url("operator")).content.decode()
    assert client.post(url("identity-accept", "ich_0")).status_code == 404
