"""The tick of leases among many."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases
from marketplace.leases.services.starting import activate_leases, reachable_leases
from marketplace.orders.models import Order
from nodes.agent.protocol import FailureReason, Phase
from nodes.models import Assignment, CardState, IngestClock, Node
from nodes.relay.probe import ProbeFailed
from nodes.states import NodeState
from tests.hosts import Host
from tests.market import Market, answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def run_leases(market: Market, count: int = 2) -> list[Host]:
    hosts = []
    for _ in range(count):
        host = market.host(count=1)
        market.list_cards(host)
        assert market.order(duration_seconds=3600).status_code == 201
        host.report(market.clock.now())
        host.run_everything(market.clock.now())
        market.tick()
        hosts.append(host)
    assert set(Lease.objects.values_list("state", flat=True)) == {"active"}
    return hosts


def test_the_probe_goes_where_this_process_reaches_the_relay(market, settings):
    settings.RELAY_HOST, settings.RELAY_PROBE_HOST = "relay.example", "relay"
    host = market.host(count=1)
    market.list_cards(host)
    market.order(duration_seconds=3600)
    host.run_everything(market.clock.now())
    asked: list[str] = []
    market.tick(probe=lambda host, port, key: asked.append(host))
    assert asked == ["relay"]


def test_a_limit_never_hides_a_lease_that_is_over(market):
    run_leases(market)
    youngest = Lease.objects.latest("pk")
    Lease.objects.filter(pk=youngest.pk).update(ends_at=market.clock.advance(60))
    advance_leases(now=market.clock.now(), limit=1)
    youngest.refresh_from_db()
    assert (youngest.state, youngest.end_reason) == ("ending", "window_over")
    assert Lease.objects.filter(state="active").count() == 1


def test_a_tick_locks_no_lease_to_which_nothing_happened(market):
    run_leases(market)
    market.clock.advance(60)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        advance_leases(now=market.clock.now())
    assert not [query["sql"] for query in captured if "FOR UPDATE" in query["sql"]]


def pass_grace(market, *hosts):
    """A second more than grace, with reports of these hosts alone."""
    for _ in range(settings.LEASE_GRACE_SECONDS // 20 + 1):
        now = market.clock.advance(20)
        for host in hosts:
            host.report(now)
    advance_leases(now=market.clock.now())
    return list(Lease.objects.order_by("pk").values_list("state", "end_reason"))


def test_a_card_that_is_gone_from_a_host_that_goes_on_ends_its_lease(market):
    whole, broken = run_leases(market)
    lost = CardState.objects.filter(card__node=broken.node)
    lost.update(availability="lost", reasons=["gpu_lost"], since_at=market.clock.now())
    advance_leases(now=market.clock.advance(settings.LEASE_GRACE_SECONDS - 1))
    assert Lease.objects.filter(state="active").count() == 2
    assert pass_grace(market, whole, broken) == [("active", ""), ("ending", "card_unhealthy")]


@pytest.mark.parametrize("state", [NodeState.ONLINE, NodeState.LOST, NodeState.QUARANTINED, NodeState.PENDING])
def test_a_host_that_is_silent_past_grace_ends_its_lease_in_whatever_state_it_is(market, state):
    heard, silent = run_leases(market)
    Node.objects.filter(pk=silent.node.pk).update(state=state)
    assert pass_grace(market, heard) == [("active", ""), ("ending", "node_lost")]


@pytest.mark.parametrize("ingest", ["down", "just up"])
def test_our_own_outage_ends_no_lease(market, ingest):
    run_leases(market)
    began = market.clock.now()
    CardState.objects.update(availability="lost", reasons=["no_reports"], since_at=began)
    Node.objects.update(state=NodeState.LOST)
    later = began + timedelta(seconds=settings.LEASE_GRACE_SECONDS)
    up_since, beat = (began - timedelta(days=1), began) if ingest == "down" else (later, later + timedelta(seconds=20))
    IngestClock.objects.create(up_since_at=up_since, beat_at=beat)
    assert pass_grace(market) == [("active", ""), ("active", "")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (FailureReason.ENGINE_UNAVAILABLE, "host_failed"),
        (FailureReason.OWNER_STOPPED, "owner_reclaimed"),
        (FailureReason.WORKLOAD_EXITED, "workload_failed"),
        (None, "workload_failed"),
    ],
)
def test_who_is_to_blame_for_a_container_that_ended(market, said, reason):
    (host,) = run_leases(market, count=1)
    host.ack(market.clock.now(), Phase.FAILED if said else Phase.STOPPED, reason=said, memory_at_baseline=True)
    advance_leases(now=market.clock.now())
    assert Lease.objects.get().end_reason == reason


def test_containers_that_hang_keep_no_other_waiting(market):
    host = market.host(count=3)
    market.list_cards(host)
    for _ in range(3):
        assert market.order().status_code == 201
    host.run_everything(market.clock.now())
    *hanging, _ = Lease.objects.order_by("pk")
    ports = {port for lease in hanging for port in relay_ports(lease)}

    def hangs(address, port, host_key):
        if port in ports:
            raise ProbeFailed("no answer")

    found = [reachable_leases(now=market.clock.advance(1), probe=hangs, limit=2) for _ in range(2)]
    assert found == [[], [Lease.objects.latest("pk").public_id]]


def relay_ports(lease):
    return Assignment.objects.get(holder=lease.public_id).relay_ports


def test_the_paid_window_begins_when_the_answer_was_there_not_when_it_was_asked_for(market):
    host = market.host(count=1)
    market.list_cards(host)
    assert market.order().status_code == 201
    host.run_everything(market.clock.now())
    reachable = reachable_leases(now=market.clock.now(), probe=answers)
    answered_at = market.clock.advance(4)
    assert activate_leases(lease_ids=reachable, now=answered_at) == 1
    assert Lease.objects.get().active_at == answered_at
    assert activate_leases(lease_ids=reachable, now=market.clock.advance(1)) == 0


@pytest.mark.parametrize("fate", ["runs", "fails"])
def test_the_registrys_password_is_kept_for_no_longer_than_somebody_may_have_to_pull(market, fate):
    host = market.host(count=1)
    market.list_cards(host)
    market.order(registry_auth={"username": "bob", "password": "s3cret-of-bob"})
    assert Order.objects.get().registry_auth and "s3cret-of-bob" in Assignment.objects.get().payload
    if fate == "runs":
        host.run_everything(market.clock.now())
    else:
        host.ack(market.clock.now(), Phase.FAILED, reason=FailureReason.IMAGE_DENIED, memory_at_baseline=True)
    market.tick()
    assert Lease.objects.get().state == ("active" if fate == "runs" else "failed")
    assert Order.objects.get().registry_auth is None
    assert "s3cret-of-bob" not in Assignment.objects.get().payload
