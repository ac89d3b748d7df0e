"""The market while its servers go away under it: every refusal is clean, and nothing is lost or doubled."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest
from django.core.management import call_command
from django.db import connection

from marketplace.events.models import Event
from marketplace.leases.models import Lease
from marketplace.ledger.selectors import wallet_balances
from marketplace.orders.models import Order
from nodes.models import Claim
from tests.factories import fund, make_firm
from tests.hosts import HOST_KEY
from tests.market import USD, Market
from tests.nodes.ingest.process import until
from tests.scenarios.outpost import Outpost, running_outpost
from tests.storefront import RunningClock

FULL = os.environ.get("TRIALS") == "full"
BUYERS = 4
GONE_SECONDS = 60 if FULL else 2
TIMES = 3 if FULL else 1
ORDERS_BETWEEN = 20  # answered between two blows, so that each one hits a busy market
DEPOSIT = 100_000 * USD


class Buyer(threading.Thread):
    """Orders without a pause, repeats what was not answered under the same key, cancels every third order."""

    def __init__(self, outpost: Outpost, key: str, number: int) -> None:
        super().__init__(daemon=True)
        self.outpost, self.number = outpost, number
        self.headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=0"}
        self.made: dict[str, str] = {}
        self.seen: Counter[int] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            key = f"key-{self.number}-{len(self.made)}"
            self.made[key] = self.order(key)
            if len(self.made) % 3 == 0:
                path = f"/api/v1/orders/{self.made[key]}/cancel/"
                self.insist("POST", path, {200, 202, 409}, Idempotency_Key=f"cancel-{key}")

    def order(self, key: str) -> str:
        """The public id of the order of this key."""
        body = {
            "gpu": ["h100-sxm5-80gb"],
            "count": 1,
            "duration_seconds": 36_000,
            "max_price_per_gpu_hour": "0.500",
            "image": "fallow/demo",
            "ssh_public_key": HOST_KEY,
            "time_in_force": "gtc",
        }
        return str(self.insist("POST", "/api/v1/orders/", {201, 202}, body, Idempotency_Key=key)["id"])

    def insist(
        self, method: str, path: str, wanted: set[int], body: object = None, **headers: str
    ) -> dict[str, object]:
        """The answer, however often it takes; what is in between must be silence or an honest 503."""
        while True:
            status, answer = self.outpost.ask(method, path, body, **self.headers, **headers)
            self.seen[status] += 1
            if status in wanted:
                return answer
            assert status in {0, 503}, (status, answer)
            assert status == 0 or answer["code"] == "unavailable", answer
            self.ended.wait(0.05)


@pytest.fixture(scope="module")
def outpost(tmp_path_factory, django_db_blocker):
    with django_db_blocker.unblock(), running_outpost(tmp_path_factory.mktemp("outpost")) as outpost:
        yield outpost


@pytest.fixture
def buyers(outpost):
    """They order while the test runs; whatever went wrong in their threads fails it."""
    market = Market(RunningClock())
    for _ in range(6):
        market.list_cards_without_round(market.host(count=8))
    found = []
    for number in range(BUYERS):
        firm = make_firm()
        fund(firm, DEPOSIT)
        key = market.client(firm)._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
        found.append((firm, Buyer(outpost, key, number)))
    connection.close()
    for _, buyer in found:
        buyer.start()
    yield found
    for _, buyer in found:
        buyer.ended.set()


def blows(outpost: Outpost):
    """Name → what is done to the market."""
    return {
        "web killed": lambda: outpost.kill_process("web"),
        "matcher killed": lambda: outpost.kill_process("matcher"),
        "worker and beat killed": lambda: outpost.kill_process("worker"),
        "Redis flushed": outpost.flush_redis,
        "Redis gone": lambda: gone(outpost.without_redis()),
        "PostgreSQL gone": lambda: gone(outpost.without_postgresql()),
    }


def gone(outage) -> None:
    with outage:
        threading.Event().wait(GONE_SECONDS)


def answered(buyers) -> int:
    return sum(len(buyer.made) for _, buyer in buyers)


@pytest.mark.trial
@pytest.mark.timeout(300 + TIMES * 240)
def test_nothing_is_lost_or_doubled_whatever_goes_away(outpost, buyers, tell):
    for _ in range(TIMES):
        for blow in blows(outpost).values():
            before = answered(buyers)
            until(lambda before=before: answered(buyers) >= before + ORDERS_BETWEEN, 60)
            blow()
    before = answered(buyers)
    until(lambda: answered(buyers) >= before + ORDERS_BETWEEN, 60)
    for _, buyer in buyers:
        buyer.ended.set()
    for _, buyer in buyers:
        buyer.join(60)
        assert not buyer.is_alive()
    until(lambda: not Order.objects.filter(seq=None, state="open").exists(), 30)
    seen = sum((buyer.seen for _, buyer in buyers), Counter())
    tell(f"outages of {GONE_SECONDS} s, {TIMES} times (TRIALS=full: 60 s, 3): answers {dict(seen)}")
    for firm, buyer in buyers:
        check(firm, buyer)
    assert seen[503] > 0
    assert Lease.objects.count() == Order.objects.filter(state="filled").count() == Claim.objects.count() > 0
    call_command("audit_ledger", verbosity=0)
    call_command("audit_escrow", verbosity=0)


def check(firm, buyer: Buyer) -> None:
    """One order per key, each with its events, and every micro of the deposit in its place."""
    orders = Order.objects.filter(firm=firm)
    assert sorted(orders.values_list("public_id", flat=True)) == sorted(buyer.made.values())
    placed = Event.objects.filter(firm_id=firm.pk, type="order.open").values_list("subject", flat=True)
    assert sorted(placed) == sorted(buyer.made.values())
    key = next(iter(buyer.made))
    assert buyer.order(key) == buyer.made[key]
    (balances,) = wallet_balances(firm)
    assert balances.available_micros + balances.reserved_micros == DEPOSIT
    open_or_leased = sum(order.count for order in orders if order.state in {"open", "filled"})
    assert balances.reserved_micros <= open_or_leased * 5 * USD
