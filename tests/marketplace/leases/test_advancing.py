"""The tick of leases among many."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases
from tests.market import Market, answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def run_two(market: Market) -> None:
    for _ in range(2):
        host = market.host(count=1)
        market.list_cards(host)
        assert market.order(duration_seconds=3600).status_code == 201
        host.report(market.clock.now())
        host.run_everything(market.clock.now())
        market.tick()
    assert set(Lease.objects.values_list("state", flat=True)) == {"active"}


def test_a_limit_never_hides_a_lease_that_is_over(market):
    run_two(market)
    youngest = Lease.objects.latest("pk")
    Lease.objects.filter(pk=youngest.pk).update(ends_at=market.clock.advance(60))
    advance_leases(now=market.clock.now(), probe=answers, limit=1)
    youngest.refresh_from_db()
    assert (youngest.state, youngest.end_reason) == ("ending", "window_over")
    assert Lease.objects.filter(state="active").count() == 1


def test_a_tick_locks_no_lease_to_which_nothing_happened(market):
    run_two(market)
    market.clock.advance(60)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        advance_leases(now=market.clock.now(), probe=answers)
    assert not [query["sql"] for query in captured if "FOR UPDATE" in query["sql"]]
