"""People and goods for the pages: a buyer with a running lease, a seller with a fleet, an operator with work to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from marketplace.accounts.models import User
from marketplace.accounts.roles import Role
from marketplace.accounts.services import add_member, create_user
from marketplace.common import clock
from marketplace.leases.models import Lease
from marketplace.payments.models import Deposit
from marketplace.payments.services import start_deposit
from nodes.models import CardState, Node
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
    market.list_cards(hosts[1], ask=250_000, cards=tuple(card.public_id for card in hosts[1].cards[:2]))
    _paint(hosts[1])
    _quarantined(market)
    deposit, _ = start_deposit(
        firm=market.bob, currency="USD", amount_micros=250 * USD, idempotency_key="scene", now=now
    )
    return Scene(market, people["bob"], people["alice"], operator, hosts, lease, deposit)


def _active_lease(market: Market, host: Host) -> Lease:
    assert market.order(count=1).status_code == 201
    now = market.clock.now()
    host.report(now)
    host.run_everything(now)
    market.tick()
    return Lease.objects.get()


def _paint(host: Host) -> None:
    host.cards[0].is_modified, host.cards[0].memory_mib = True, 49_140
    host.cards[0].save()
    CardState.objects.filter(card__in=host.cards).update(sample=SAMPLE)
    busy = CardState.objects.filter(card=host.cards[3])
    busy.update(
        availability=Availability.OWNER_USED,
        reasons=["owner_processes"],
        sample=SAMPLE | {"utilisation_percent": 87, "memory_used_mib": 20_300, "power_w": 402.0},
    )


def _quarantined(market: Market) -> None:
    host = market.host(count=1)
    Node.objects.filter(pk=host.node.pk).update(
        state=NodeState.QUARANTINED, quarantine_reason="its card is the card of another node"
    )
    CardState.objects.filter(card__in=host.cards).update(availability=Availability.LOST)
