"""What buyers are told of a host's reliability is what became of its leases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.leases.models import Lease
from marketplace.leases.services.rating import rate_nodes
from marketplace.leases.states import BROKEN_BY_HOST, EndReason
from nodes.models import Node
from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def ended(market, host, reasons, *, days_ago=1, became_usable=True):
    """Leases of the host that closed so long ago, one for each reason."""
    closed_at = market.clock.now() - timedelta(days=days_ago)
    like = Lease.objects.filter(node=host.node).first()
    for number, reason in enumerate(reasons):
        columns = {field.attname: getattr(like, field.attname) for field in Lease._meta.concrete_fields}
        columns |= {
            "id": None,
            "public_id": f"lse_{host.node.pk}{days_ago}{became_usable:d}{number}",
            "state": "ended",
            "end_reason": reason,
            "active_at": closed_at - timedelta(hours=1) if became_usable else None,
            "closed_at": closed_at,
        }
        Lease.objects.create(**columns)


def leased_host(market):
    host = market.host(count=2)
    market.list_cards(host)
    others = [node.public_id for node in Node.objects.exclude(pk=host.node.pk)]
    assert market.order(exclude_nodes=others).status_code == 201
    return host


def rated(market, host):
    rate_nodes(now=market.clock.now())
    host.node.refresh_from_db()
    return host.node.reliability_basis_points


@pytest.mark.parametrize("reason", EndReason.values)
def test_only_what_the_host_did_counts_against_it(market, reason):
    host = leased_host(market)
    ended(market, host, ["window_over"] * 5 + [reason])
    assert rated(market, host) == (8333 if reason in BROKEN_BY_HOST else 10_000)


def test_a_lease_that_never_began_counts_only_when_the_host_is_the_reason(market):
    host = leased_host(market)
    ended(market, host, ["window_over"] * 5)
    ended(market, host, ["workload_failed", "buyer_ended"], became_usable=False)
    assert rated(market, host) == 10_000
    ended(market, host, ["start_timed_out"], became_usable=False, days_ago=2)
    assert rated(market, host) == 8333


def test_of_four_leases_nothing_is_said_and_old_ones_are_forgotten(market):
    host = leased_host(market)
    ended(market, host, ["window_over"] * 4)
    ended(market, host, ["node_lost"] * 10, days_ago=31)
    assert rated(market, host) is None
    ended(market, host, ["node_lost"], days_ago=29)
    assert rated(market, host) == 8000
    market.clock.advance(29.5 * 86_400)
    assert rated(market, host) is None


def test_search_and_orders_can_ask_for_hosts_that_keep_their_leases(market):
    good, bad = leased_host(market), leased_host(market)
    ended(market, good, ["window_over"] * 50)
    ended(market, bad, ["window_over"] * 4 + ["node_lost"])
    new = market.host(count=1)
    market.list_cards(new, ask=300_000)
    rate_nodes(now=market.clock.now())

    def found(**query):
        answer = market.buyer.get("/api/v1/offers/", query).json()
        return [(each["node"]["id"], each["node"]["reliability"]) for each in answer["data"]]

    ids = [host.node.public_id for host in (good, bad, new)]
    assert found(sort="-reliability") == list(zip(ids, [1.0, 0.8, None], strict=True))
    assert found(reliability__gte="0.8001") == [(ids[0], 1.0)]
    assert market.order(reliability__gte="0.9", max_price_per_gpu_hour="0.400").status_code == 201
    assert Lease.objects.latest("pk").node == good.node


@pytest.mark.parametrize("wrong", ["1.01", "-0.1", "NaN", "0.98765", "much", "1e9"])
def test_a_share_is_between_nothing_and_one(market, wrong):
    answer = market.buyer.get("/api/v1/offers/", {"reliability__gte": wrong})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/reliability__gte"
