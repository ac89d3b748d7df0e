"""The trace's cluster as a market: its hosts sell, one buyer rents, the clock is the trace's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import F
from django.db.models.functions import Mod

from listings.services import ListingTerms, create_listing, open_listing
from marketplace.accounts.models import Firm
from marketplace.accounts.services import FirmDetails, create_firm
from marketplace.catalogue.services import recognise
from marketplace.demo.replay.owners import Owner
from marketplace.demo.replay.trace import NAMES, TraceNode
from marketplace.ledger.models import AccountKind, Code
from marketplace.ledger.selectors import account_for
from marketplace.ledger.services import Leg, post
from nodes.agent.protocol import CARD_FIELDS, Ack, CardIdentity, Phase
from nodes.models import Assignment, Card, CardState, Node, Report
from nodes.services.assignments import record_acks
from nodes.states import Availability, NodeState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NODES_PER_FIRM = 100
WALLET_MICROS = 10**15
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
# What an hour is asked for has no source in the trace: 0.01 of the currency per GiB of memory.
ASK_MICROS_PER_GIB = 10_000


class World:
    """Everything that the services need to believe in the trace."""

    def __init__(self, nodes: Sequence[TraceNode], *, ends_at: datetime, owners: Sequence[Owner] = ()) -> None:
        self.models = {name: recognise(_identity(name, 0))[0] for name in {node.model for node in nodes}}
        self.buyer = _firm("Trace buyer")
        _fund(self.buyer)
        self.card_count = sum(node.cards for node in nodes)
        self.seq = 0
        self.owners = owners
        self._doing: dict[int, Availability] = {}
        for number in range(0, len(nodes), NODES_PER_FIRM):
            self._add_seller(nodes[number : number + NODES_PER_FIRM], number // NODES_PER_FIRM, ends_at)

    def slugs(self, models: Iterable[str]) -> tuple[str, ...]:
        """The catalogue's names of the trace's models; all of the cluster's when none is named."""
        return tuple(sorted(self.models[name].slug for name in set(models) or set(self.models) if name in self.models))

    def follow_owners(self, now: datetime) -> None:
        """Each card does what its owner's recording does at this moment; without recordings all lie idle."""
        second = int((now - BEGIN).total_seconds())
        for number, owner in enumerate(self.owners):
            wanted = Availability.IDLE if owner.is_idle(second) else Availability.OWNER_USED
            if self._doing.get(number, Availability.IDLE) != wanted:
                self._doing[number] = wanted
                states = CardState.objects.annotate(owner=Mod("card_id", len(self.owners))).filter(owner=number)
                states.update(availability=wanted, since_at=now, version=F("version") + 1)

    def start_everything(self, now: datetime) -> None:
        """Every host runs what it was told to, and proves it with a report."""
        for assignment in Assignment.objects.filter(seen="none", wanted="run").select_related("node"):
            self._ack(assignment, Phase.RUNNING, now, ssh_host_key=HOST_KEY)

    def prove(self, lease_ids: Iterable[str], now: datetime) -> None:
        """A report of each lease's node that names everything that runs there."""
        nodes = Assignment.objects.filter(holder__in=list(lease_ids)).values("node_id")
        running: dict[int, list[Assignment]] = {}
        for assignment in Assignment.objects.filter(node__in=nodes, seen="running", wanted="run"):
            running.setdefault(assignment.node_id, []).append(assignment)
        for node_id, assignments in running.items():
            self._report(node_id, assignments, now)

    def stop_everything(self, now: datetime) -> None:
        """Every host stops what it must."""
        for assignment in Assignment.objects.filter(wanted="stop").exclude(seen="exited").select_related("node"):
            self._ack(assignment, Phase.STOPPED, now, memory_at_baseline=True)

    def _add_seller(self, nodes: Sequence[TraceNode], number: int, ends_at: datetime) -> None:
        firm = _firm(f"Trace seller {number + 1}")
        for node in nodes:
            _add_node(firm, node, self.models[node.model].pk)
        for model in {node.model for node in nodes}:
            gpu = self.models[model]
            gib = NAMES[model][1] // 1024
            terms = ListingTerms(
                ask_micros_per_gpu_hour=gib * ASK_MICROS_PER_GIB,
                currency="USD",
                window_start_at=BEGIN,
                window_end_at=ends_at,
                duration_seconds_min=60,
                duration_seconds_max=int((ends_at - BEGIN).total_seconds()),
                pool_gpu=gpu.slug,
            )
            listing = create_listing(firm=firm, terms=terms, actor="replay", now=BEGIN)
            open_listing(firm=firm, public_id=listing.public_id, actor="replay", now=BEGIN)

    def _ack(self, assignment: Assignment, phase: Phase, now: datetime, **said: object) -> None:
        self.seq += 1
        ack = Ack(assignment.public_id, assignment.holder, assignment.epochs, phase, 1, self.seq, 0, **said)  # type: ignore[arg-type]
        record_acks(node=assignment.node, acks=[ack], now=now)

    def _report(self, node_id: int, running: Iterable[Assignment], now: datetime) -> None:
        self.seq += 1
        Report.objects.create(
            node_id=node_id,
            run=1,
            seq=self.seq,
            received_at=now,
            observed_at=now,
            mono_ms=(now - BEGIN) // timedelta(milliseconds=1),
            is_live=True,
            cards=[0.0] * len(CARD_FIELDS) * 8,
            leases=[[each.holder, max(each.running_epochs.values()), Phase.RUNNING.value] for each in running],
        )


def _identity(model: str, index: int) -> CardIdentity:
    name, memory = NAMES[model]
    return CardIdentity(uuid="", name=name, index=index, memory_total_mib=memory)


def _firm(name: str) -> Firm:
    details = FirmDetails(name=name, headquarters_country="DE", intended_use="replay of a trace")
    return create_firm(details=details, now=BEGIN)


def _fund(firm: Firm) -> None:
    outside = account_for(firm=None, kind=AccountKind.CLEARING, currency="USD", ref="replay")
    wallet = account_for(firm=firm, kind=AccountKind.WALLET, currency="USD")
    legs = [Leg(outside, -WALLET_MICROS), Leg(wallet, WALLET_MICROS)]
    post(ref="replay:funds", code=Code.DEPOSIT, legs=legs, now=BEGIN)


def _add_node(firm: Firm, node: TraceNode, model_id: int) -> None:
    row = Node.objects.create(
        firm=firm,
        name=node.name,
        state=NodeState.ONLINE,
        public_key=node.name.encode(),
        bearer_hash=node.name.encode(),
        region="cluster",
        country="DE",
        runtime="docker",
        enrolled_at=BEGIN,
        last_seen_at=BEGIN,
        proven_at=BEGIN,
    )
    cards = Card.objects.bulk_create(
        Card(
            uuid=f"{node.name}-{index}",
            firm=firm,
            node=row,
            index=index,
            gpu_model_id=model_id,
            memory_mib=NAMES[node.model][1],
            first_seen_at=BEGIN,
        )
        for index in range(node.cards)
    )
    CardState.objects.bulk_create(
        CardState(card=card, availability=Availability.IDLE, since_at=BEGIN, observed_at=BEGIN) for card in cards
    )


def highest_concurrency() -> int:
    """The most leases that any card had at one moment; anything but 1 (or 0) would be a card given twice."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(max(held), 0) FROM (
                SELECT sum(change) OVER (PARTITION BY card_id ORDER BY at, change) AS held FROM (
                    SELECT c.card_id, l.active_at AS at, 1 AS change FROM leases_leasecard c
                    JOIN leases_lease l ON l.id = c.lease_id WHERE l.active_at IS NOT NULL
                    UNION ALL
                    SELECT c.card_id, coalesce(l.ended_at, l.ends_at), -1 FROM leases_leasecard c
                    JOIN leases_lease l ON l.id = c.lease_id WHERE l.active_at IS NOT NULL
                ) changes
            ) running
            """
        )
        return int(cursor.fetchone()[0])
