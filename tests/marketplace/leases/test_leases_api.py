from __future__ import annotations

import pytest
from django.utils.dateparse import parse_datetime

from marketplace.leases.models import Lease
from nodes.agent.protocol import LOG_LENGTH_MAX, LogTail
from nodes.models import Assignment, AssignmentLog, Report
from nodes.services.logs import drop_old_logs, record_log
from tests.market import Market

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def leased(market):
    host = market.host(count=4)
    market.list_cards(host)
    for _ in range(3):
        assert market.order().status_code == 201
    host.run_everything(market.clock.now())
    market.tick()
    return host


def test_only_the_buyer_gets_the_way_in_and_only_the_seller_the_earnings(market):
    leased(market)
    bought, sold = (client.get("/api/v1/leases/").json()["data"][0] for client in (market.buyer, market.seller))
    assert (bought["side"], bought["earned"], bought["ssh"]["user"]) == ("buyer", None, "root")
    assert (sold["side"], sold["ssh"], sold["order"]) == ("seller", None, None)


def test_a_list_costs_the_same_queries_however_long(market, django_assert_max_num_queries):
    leased(market)
    with django_assert_max_num_queries(8):
        assert len(market.buyer.get("/api/v1/leases/").json()["data"]) == 3


def test_the_numbers_behind_the_charge_are_shown(market):
    host = leased(market)
    market.run_for(120, host)
    lease = market.buyer.get("/api/v1/leases/").json()["data"][0]
    usage = market.buyer.get(f"/api/v1/leases/{lease['id']}/usage/").json()
    assert usage["gpu_ms"] == 115_000
    assert usage["charged"]["amount"] == "0.012777"


def test_the_buyer_alone_reads_what_the_workload_wrote_last(market):
    host = leased(market)
    lease = Lease.objects.first()
    url = f"/api/v1/leases/{lease.public_id}/logs/"
    assert market.buyer.get(url).json() == {"text": "", "observed_at": None}
    assignment = Assignment.objects.get(holder=lease.public_id)
    for text in ("epoch 1", "epoch 1\nepoch 2\0"):
        record_log(node=host.node, tail=LogTail(assignment.public_id, text), now=market.clock.now())
    other = market.host()
    record_log(node=other.node, tail=LogTail(assignment.public_id, "forged"), now=market.clock.now())
    answer = market.buyer.get(url).json()
    assert answer["text"] == "epoch 1\nepoch 2\N{REPLACEMENT CHARACTER}"
    assert parse_datetime(answer["observed_at"]) == market.clock.now()
    refused = market.seller.get(url)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_the_buyer")


def test_what_a_workload_wrote_is_forgotten_with_the_reports_of_its_time(market, settings):
    host = leased(market)
    assignment = Assignment.objects.first()
    record_log(node=host.node, tail=LogTail(assignment.public_id, "x" * 10_000), now=market.clock.now())
    assert len(AssignmentLog.objects.get().text) == LOG_LENGTH_MAX
    drop_old_logs(now=market.clock.advance(settings.REPORT_DAYS_KEPT * 86_400))
    assert AssignmentLog.objects.exists()
    drop_old_logs(now=market.clock.advance(1))
    assert not AssignmentLog.objects.exists()


def test_telemetry_shows_the_leased_card_in_its_time_and_nothing_else(market):
    host = leased(market)
    market.run_for(300, host)
    lease = Lease.objects.order_by("pk")[1]
    place = lease.lease_cards.get().card.index
    for report in Report.objects.all():
        width = len(report.cards) // 4
        report.cards = [float(10 * number) for number in range(4) for _ in range(width)]
        report.save()
    begin = lease.active_at + (market.clock.now() - lease.active_at) / 2
    Lease.objects.filter(pk=lease.pk).update(active_at=begin)
    for client in (market.buyer, market.seller):
        answer = client.get(f"/api/v1/leases/{lease.public_id}/telemetry/?step_seconds=30").json()
        assert parse_datetime(answer["since"]) == begin
        (card,) = answer["cards"]
        assert card["card"] == lease.lease_cards.get().card.public_id
        assert len(card["points"]) == 5
        assert {point["power_w"] for point in card["points"]} == {10.0 * place}


@pytest.mark.parametrize(
    ("query", "status", "points"),
    [
        ("", 200, 2),
        ("since=2020-01-01T00:00:00Z", 400, None),
        ("x=1", 400, None),
        ("until=2026-11-23T11:59:00Z", 200, 0),
    ],
)
def test_a_stretch_outside_of_the_lease_shows_nothing(market, query, status, points):
    host = leased(market)
    market.run_for(120, host)
    lease = Lease.objects.first()
    answer = market.buyer.get(f"/api/v1/leases/{lease.public_id}/telemetry/?{query}")
    assert answer.status_code == status, answer.content
    if points is not None:
        (card,) = answer.json()["cards"]
        assert len(card["points"]) == points
