"""People and goods for the pages: a buyer with a running lease, a seller with a fleet, an operator with work to do."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from marketplace.accounts.models import User
from marketplace.accounts.roles import Role
from marketplace.accounts.services import add_member, create_user
from marketplace.common import clock
from marketplace.leases.models import Lease
from marketplace.leases.states import LeaseState
from marketplace.payments.models import Deposit
from marketplace.payments.services import start_deposit
from nodes.models import CardState, IdentityConflict, Node, Report
from nodes.states import Availability, NodeState
from tests.hosts import Host
from tests.market import USD, Market

PASSWORD = "seven furrows deep"
SAMPLE = {"utilisation_percent": 0, "memory_used_mib": 512, "power_w": 71.5, "temperature_c": 34}


class RunningClock:
    """The real time, where a browser looks at it too."""

    def now(self) -> datetime:
        """The time now."""
        return clock.now()


@dataclass
class Scene:
    """What the pages show."""

    market: Market
    buyer: User
    seller: User
    operator: User
    hosts: list[Host]
    lease: Lease
    deposit: Deposit
    offer_listing: str


def build_scene(market: Market) -> Scene:
    """Two hosts of Alice's, one with a modified card; one lease of Bob's is active, two cards are on offer."""
    now = market.clock.now()
    people = {name: create_user(email=f"{name}@fallow.example", password=PASSWORD) for name in ("bob", "alice")}
    operator = create_user(email="operator@fallow.example", password=PASSWORD, is_operator=True)
    for name, firm in (("bob", market.bob), ("alice", market.alice)):
        add_member(firm=firm, user=people[name], role=Role.OWNER, actor="test", now=now)
    hosts = [market.host(), market.host(gpu="rtx-4090", count=4, region="eu-west", country="DE")]
    market.list_cards(hosts[0])
    lease = _active_lease(market, hosts[0])
    on_offer = tuple(card.public_id for card in hosts[1].cards[:2])
    listing = market.list_cards(hosts[1], ask=250_000, cards=on_offer)
    _paint(hosts[1])
    _quarantined(market, hosts[1])
    deposit, _ = start_deposit(
        firm=market.bob, currency="USD", amount_micros=250 * USD, idempotency_key="scene", now=now
    )
    return Scene(market, people["bob"], people["alice"], operator, hosts, lease, deposit, listing.public_id)


def _active_lease(market: Market, host: Host) -> Lease:
    assert market.order(count=1).status_code == 201
    now = market.clock.now()
    deadline = time.monotonic() + 10
    while Lease.objects.get().state != LeaseState.ACTIVE and time.monotonic() < deadline:
        host.report(now)
        market.tick()
        host.run_everything(now)
    Report.objects.all().delete()
    CardState.objects.filter(card__lease_cards__isnull=False).update(availability=Availability.LEASED)
    return _with_history(Lease.objects.get(), host, now)


def _with_history(lease: Lease, host: Host, now: datetime) -> Lease:
    """As if it had run for five minutes, a report every five seconds."""
    lease.active_at = now - timedelta(minutes=5)
    lease.ends_at = lease.active_at + timedelta(seconds=lease.duration_seconds)
    lease.save(update_fields=["active_at", "ends_at"])
    for number in range(60):
        busy = 55 + 35 * math.sin(number / 9)
        values = [busy, busy / 2, 42_000 - 300 * number, 48 + busy / 9, 180 + 4 * busy, 1755, 0, 1, 0, 0]
        at = now - timedelta(seconds=5 * number)
        Report.objects.create(
            node=host.node, run=1, seq=10_000 - number, received_at=at, observed_at=at,
            mono_ms=0, is_live=True, cards=values * len(host.cards), leases=[],
        )  # fmt: skip
    return lease


def _paint(host: Host) -> None:
    host.cards[0].is_modified, host.cards[0].memory_mib = True, 49_140
    host.cards[0].save()
    CardState.objects.filter(card__in=host.cards).update(sample=SAMPLE)
    busy = CardState.objects.filter(card=host.cards[3])
    busy.update(
        availability=Availability.OWNER_USED,
        reasons=["owner_process", "memory_in_use"],
        sample=SAMPLE | {"utilisation_percent": 87, "memory_used_mib": 20_300, "power_w": 402.0},
    )


def _quarantined(market: Market, owner: Host) -> None:
    host = market.host(count=1)
    IdentityConflict.objects.create(card=owner.cards[0], newcomer=host.node, seen_at=market.clock.now())
    Node.objects.filter(pk=host.node.pk).update(
        state=NodeState.QUARANTINED, quarantine_reason="its card is the card of another node"
    )
    CardState.objects.filter(card__in=host.cards).update(availability=Availability.LOST)
