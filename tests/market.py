"""The market on a frozen clock: a seller, a buyer with money, and the ticks in the order in which they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rest_framework.test import APIClient

from listings.models import CapacityListing
from listings.services import ListingTerms, create_listing, open_listing
from marketplace.accounts.models import Firm
from marketplace.accounts.services import create_api_key
from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases, start_reserved_leases
from marketplace.leases.services.proving import activate_proving_leases, prove_nodes, reachable_proving_leases
from marketplace.leases.services.starting import activate_leases, reachable_leases
from marketplace.matching.rounds import run_due_round, run_round
from marketplace.settlement.services import settle_leases
from tests.conftest import FrozenClock
from tests.factories import fund, make_firm
from tests.hosts import HOST_KEY, Host

_keys = itertools.count(1)
USD = 1_000_000


def answers(host: str, port: int, host_key: str) -> None:
    """A probe that always reaches the container."""


class Market:
    """Alice sells, Bob buys."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.alice, self.bob = make_firm("Alice"), make_firm("Bob")
        fund(self.bob, 100 * USD)
        self.seller, self.buyer = self.client(self.alice), self.client(self.bob)

    def client(self, firm: Firm, *scopes: str) -> APIClient:
        """An API client with a key of the firm."""
        names = scopes or ("read", "trade", "fleet", "finance", "admin")
        _, key = create_api_key(firm=firm, name="test", scopes=names, now=self.clock.now())
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        return client

    def host(self, **options: Any) -> Host:
        """A host of Alice's."""
        return Host(self.alice, self.clock.now(), **options)

    def list_cards(self, host: Host, *, ask: int = 400_000, **terms: Any) -> CapacityListing:
        """Put all cards of the host into the book and run the round that sees them."""
        listing = self.list_cards_without_round(host, ask=ask, **terms)
        run_round(now=self.clock.now())
        return listing

    def list_cards_without_round(self, host: Host, *, ask: int = 400_000, **terms: Any) -> CapacityListing:
        """Put all cards of the host into the book; the next round will see them."""
        now = self.clock.now()
        values = {
            "ask_micros_per_gpu_hour": ask,
            "currency": "USD",
            "window_start_at": now,
            "window_end_at": now + timedelta(days=30),
            "duration_seconds_min": 60,
            "duration_seconds_max": 7 * 24 * 3600,
            "cards": tuple(card.public_id for card in host.cards),
        } | terms
        listing = create_listing(firm=host.node.firm, terms=ListingTerms(**values), actor="test", now=now)
        return open_listing(firm=host.node.firm, public_id=listing.public_id, actor="test", now=now)

    def order(self, client: APIClient | None = None, *, key: str = "", **body: Any) -> Any:
        """POST an order for one H100 for ten hours and run the round that it waits for."""
        body = {
            "gpu": ["h100-sxm5-80gb"],
            "count": 1,
            "duration_seconds": 36_000,
            "max_price_per_gpu_hour": "0.500",
            "image": "fallow/demo",
            "ssh_public_key": HOST_KEY,
        } | body
        headers = {"Idempotency-Key": key or f"key-{next(_keys)}", "Prefer": "wait=0"}
        client = client or self.buyer
        response = client.post("/api/v1/orders/", body, format="json", headers=headers)
        self.tick()
        if response.status_code != 202:
            return response
        return client.post("/api/v1/orders/", body, format="json", headers=headers)

    def end(self, lease: Lease, client: APIClient | None = None, *, key: str = "") -> Any:
        """End a lease of Bob's."""
        headers = {"Idempotency-Key": key or f"key-{next(_keys)}"}
        return (client or self.buyer).post(f"/api/v1/leases/{lease.public_id}/end/", headers=headers)

    def cancel(self, order: str, client: APIClient | None = None, *, key: str = "") -> Any:
        """Take an order of Bob's back."""
        headers = {"Idempotency-Key": key or f"key-{next(_keys)}", "Prefer": "wait=0"}
        return (client or self.buyer).post(f"/api/v1/orders/{order}/cancel/", headers=headers)

    def tick(self, probe: Callable[[str, int, str], None] = answers) -> None:
        """Every clock once."""
        now = self.clock.now()
        if run_due_round(now=now):
            start_reserved_leases(now=now)
        advance_leases(now=now)
        activate_leases(lease_ids=reachable_leases(now=now, probe=probe), now=now)
        prove_nodes(now=now)
        activate_proving_leases(lease_ids=reachable_proving_leases(now=now, probe=probe), now=now)
        settle_leases(now=now)

    def run_for(self, seconds: int, *hosts: Host, step: int = 5, tick_every: int = 60) -> None:
        """Let time pass with a report every `step` seconds and the ticks now and then."""
        for passed in range(step, seconds + 1, step):
            now = self.clock.advance(step)
            for host in hosts:
                host.report(now)
            if passed % tick_every == 0:
                self.tick()
        self.tick()
