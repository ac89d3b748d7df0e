"""Fifty buyers want the same card at once: one gets it, the others hear so and have their money back."""

from __future__ import annotations

import os
import threading

import pytest
from django.db import connections

from marketplace.common import clock
from marketplace.leases.models import Lease
from marketplace.ledger.selectors import wallet_balances
from marketplace.matching.rounds import run_due_round
from nodes.models import Claim
from tests.factories import fund, make_firm
from tests.hosts import HOST_KEY
from tests.market import USD, Market

BUYERS = 50
TIMES = 20 if os.environ.get("TRIALS") == "full" else 2


class MatcherThread(threading.Thread):
    """The matcher process, as a thread of the test."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.wait(0.02):
                run_due_round(now=clock.now())
        finally:
            connections.close_all()


@pytest.mark.trial
@pytest.mark.timeout(60 * TIMES)
@pytest.mark.django_db(transaction=True)
def test_fifty_buyers_of_one_card_make_one_lease_and_forty_nine_clean_refusals(frozen, tell):
    market = Market(frozen)
    buyers = [make_firm() for _ in range(BUYERS)]
    for buyer in buyers:
        fund(buyer, 100 * USD)
    clients = [market.client(buyer) for buyer in buyers]
    tell(f"race for one card: {BUYERS} buyers, {TIMES} times (TRIALS=full: 20)")
    for _ in range(TIMES):
        host = market.host(count=1)
        market.list_cards(host)
        answers = race(clients, market.buyer)
        codes = sorted(status for status, _ in answers)
        assert codes == [201] + [409] * (BUYERS - 1), answers
        assert {code for status, code in answers if status == 409} == {"offer_gone"}
    assert Lease.objects.count() == TIMES
    assert Claim.objects.count() == TIMES
    reserved = sum(balances.reserved_micros for buyer in buyers for balances in wallet_balances(buyer))
    available = sum(balances.available_micros for buyer in buyers for balances in wallet_balances(buyer))
    assert reserved + available == BUYERS * 100 * USD
    assert reserved == TIMES * 4 * USD


def race(clients, searcher):
    """Every client takes the only offer in the same moment; returns (status, code) of each."""
    (offer,) = searcher.get("/api/v1/offers/").json()["data"]
    body = {
        "offer": offer["id"],
        "duration_seconds": 36_000,
        "max_price_per_gpu_hour": offer["price_per_gpu_hour"]["amount"],
        "image": "fallow/demo",
        "ssh_public_key": HOST_KEY,
    }
    start, answers = threading.Barrier(len(clients)), []

    def take(client, number):
        try:
            start.wait()
            headers = {"Idempotency-Key": f"{offer['id'][:40]}-{number}", "Prefer": "wait=30"}
            response = client.post("/api/v1/orders/", body, format="json", headers=headers)
            answers.append((response.status_code, response.json().get("code")))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=take, args=(client, number)) for number, client in enumerate(clients)]
    matcher = MatcherThread()
    matcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    matcher.stopped.set()
    matcher.join()
    return answers
