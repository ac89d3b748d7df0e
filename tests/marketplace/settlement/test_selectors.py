"""What the reports of a node say of one lease's cards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.leases.models import Lease
from marketplace.settlement.selectors import report_points
from nodes.agent.protocol import CARD_FIELDS, Health
from nodes.availability import UNHEALTHY
from nodes.models import Card, CardOrder, Report
from tests.market import Market

pytestmark = pytest.mark.django_db
HEALTH = CARD_FIELDS.index("health")


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def leased(market):
    host = market.host(count=2)
    market.list_cards(host)
    assert market.order().status_code == 201
    host.run_everything(market.clock.now())
    market.tick()
    return host, Lease.objects.get()


@pytest.mark.parametrize("flag", [Health.LOST, *UNHEALTHY], ids=lambda flag: flag.name)
def test_no_second_of_an_unhealthy_card_is_charged(market, flag):
    host, lease = leased(market)
    for _ in range(40):
        host.report(market.clock.advance(5), health=flag)
    market.tick()
    lease.refresh_from_db()
    assert (lease.gpu_ms, lease.settled_micros) == (0, 0)


def test_each_report_is_read_in_the_order_that_its_cards_had_then(market):
    host, lease = leased(market)
    mine, other = [card.uuid for card in host.cards]
    assert lease.lease_cards.get().card.uuid == mine
    width = len(CARD_FIELDS)
    for order in ([mine, other], [other, mine], [other]):
        now = market.clock.advance(5)
        CardOrder.objects.create(node=host.node, since_at=now, uuids=order)
        for place in range(len(order)):
            host.report(market.clock.advance(1))
            report = Report.objects.order_by("received_at").last()
            values = list(report.cards)
            values[place * width + HEALTH] = float(Health.XID)
            Report.objects.filter(seq=report.seq).update(cards=values)
    Card.objects.filter(uuid=mine).update(index=0)
    since, until = lease.active_at, market.clock.now() + timedelta(seconds=1)
    points = sorted(report_points(lease, since=since, until=until), key=lambda point: point.seq)
    assert [point.healthy for point in points] == [(False,), (True,), (True,), (False,), (False,)]
