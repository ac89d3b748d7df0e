"""What an order with several leases holds back, whatever becomes of them and however they meet."""

from __future__ import annotations

import threading
import time
from itertools import permutations

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, connections, transaction

from marketplace.leases.models import Lease
from marketplace.leases.selectors import lease_for_update
from marketplace.leases.services.ending import end_by_buyer, fail_lease
from marketplace.leases.states import EndReason
from marketplace.ledger.selectors import wallet_balances
from marketplace.orders.models import Order
from marketplace.settlement.audit import WrongEscrow, wrong_escrows
from tests.market import USD, Market


@pytest.fixture
def market(frozen) -> Market:
    return Market(frozen)


def money(market):
    (balances,) = wallet_balances(market.bob)
    return balances.available_micros, balances.reserved_micros


def spread(market):
    """Two leases of one order for two cards, one card on each host; the order holds 1.00."""
    hosts = [market.host(count=1) for _ in range(2)]
    for host in hosts:
        market.list_cards(host)
    assert market.order(count=2, same_node=False, duration_seconds=3600).status_code == 201
    assert money(market) == (99 * USD, USD)
    return hosts, list(Lease.objects.order_by("pk"))


def fail(market, lease, reason=EndReason.START_FAILED):
    with transaction.atomic():
        fail_lease(lease=lease_for_update(lease.pk), reason=reason, now=market.clock.now())


@pytest.mark.django_db(transaction=True)
def test_two_leases_that_end_at_once_leave_nothing_behind(market):
    _, (first, second) = spread(market)
    failed = threading.Event()
    ended = threading.Thread(target=end_from_a_connection_of_its_own, args=(market, second, failed))
    with transaction.atomic():
        fail_lease(lease=lease_for_update(first.pk), reason=EndReason.BUYER_ENDED, now=market.clock.now())
        ended.start()
        failed.set()
        while ended.is_alive() and not somebody_waits():
            time.sleep(0.01)
    ended.join()
    assert money(market) == (100 * USD, 0)
    call_command("audit_escrow", verbosity=0)


def end_from_a_connection_of_its_own(market, lease, begin):
    begin.wait()
    try:
        end_by_buyer(firm=market.bob, public_id=lease.public_id, actor="test", now=market.clock.now())
    finally:
        connections.close_all()


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


@pytest.mark.django_db(transaction=True)
def test_when_every_host_fails_the_order_waits_again_with_all_of_its_money(market):
    hosts, leases = spread(market)
    fail(market, leases[0])
    assert money(market) == (99 * USD, USD)
    fail(market, leases[1])
    order = Order.objects.get()
    assert (order.state, money(market)) == ("open", (99 * USD, USD))
    assert sorted(order.exclude_nodes) == sorted(host.node.public_id for host in hosts)
    others = [market.host(count=1) for _ in range(2)]
    for host in others:
        market.list_cards(host)
    market.tick()
    for host in others:
        host.run_everything(market.clock.now())
    market.tick()
    market.run_for(3600, *others, step=15, tick_every=900)
    for host in others:
        host.stop_everything(market.clock.now())
    market.tick()
    assert list(Lease.objects.order_by("pk").values_list("state", flat=True)) == ["failed"] * 2 + ["ended"] * 2
    assert money(market) == (100 * USD - 2 * 497_916, 0)  # the order is older, so its price counts
    call_command("audit_ledger", verbosity=0)
    assert wrong_escrows() == []


FATES = {
    "host": fail,
    "image": lambda market, lease: fail(market, lease, EndReason.WORKLOAD_FAILED),
    "buyer": lambda market, lease: end_by_buyer(
        firm=market.bob, public_id=lease.public_id, actor="test", now=market.clock.now()
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize("fates", list(permutations(FATES, 2)), ids="-".join)
def test_an_order_of_which_the_buyer_ended_a_part_does_not_come_back(market, fates):
    _, leases = spread(market)
    for fate, lease in zip(fates, leases, strict=True):
        FATES[fate](market, lease)
    assert Order.objects.get().state == "filled"
    assert money(market) == (100 * USD, 0)


@pytest.mark.django_db(transaction=True)
def test_the_audit_names_the_order_that_holds_too_much_or_too_little(market, capsys):
    spread(market)
    order = Order.objects.get()
    call_command("audit_escrow")
    assert wrong_escrows() == []
    Lease.objects.update(state="ended")  # as if somebody had forgotten the money
    assert wrong_escrows() == [WrongEscrow(order.public_id, USD, 0)]
    Order.objects.update(state="open", escrow_micros=2 * USD)
    with pytest.raises(CommandError):
        call_command("audit_escrow")
    assert f"{order.public_id} holds 1000000 micros and needs 2000000" in capsys.readouterr().out
