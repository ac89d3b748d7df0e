"""A month of trade: Bob's lease of Alice's card in November, on a frozen clock."""

from __future__ import annotations

from datetime import UTC, datetime

from marketplace.leases.models import Lease
from tests.factories import make_person
from tests.market import Market

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


class Trade:
    """Alice sells, Bob has used twenty minutes of an hour that he ordered, then ended it."""

    def __init__(self, clock) -> None:
        self.market = Market(clock)
        self.clock, self.alice, self.bob = clock, self.market.alice, self.market.bob
        self.host = self.market.host()
        self.market.list_cards(self.host, ask=399_000)
        assert self.market.order(duration_seconds=3600).status_code == 201
        self.host.run_everything(clock.now())
        self.market.tick()
        self.market.run_for(1200, self.host)
        self.lease = Lease.objects.get()
        self.market.end(self.lease)
        self.host.stop_everything(clock.advance(5))
        for _ in range(4):
            self.market.run_for(120, self.host)
        self.lease.refresh_from_db()
        assert self.lease.state == "ended", self.lease.state
        self.operator = make_person(is_operator=True)
