"""A GPU host as the server sees it: what its agent would have reported and acked, written as rows."""

from __future__ import annotations

import itertools
import secrets
from datetime import datetime, timedelta

from marketplace.accounts.models import Firm
from marketplace.catalogue.models import GpuModel
from nodes.agent.protocol import CARD_FIELDS, Ack, Phase
from nodes.models import Assignment, Card, CardState, Node, Report
from nodes.services.assignments import record_acks
from nodes.states import Availability, NodeState

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
_numbers = itertools.count(1)


class Host:
    """A proven node with `count` like cards, online and idle from the start."""

    def __init__(self, firm: Firm, now: datetime, *, gpu: str = "h100-sxm5-80gb", count: int = 2, **node) -> None:
        number = next(_numbers)
        columns = {"region": "eu-north", "country": "FI", "runtime": "docker", "proven_at": now} | node
        self.node = Node.objects.create(
            firm=firm,
            name=f"host-{number}",
            state=NodeState.ONLINE,
            public_key=secrets.token_bytes(32),
            bearer_hash=secrets.token_bytes(32),
            enrolled_at=now,
            last_seen_at=now,
            **columns,
        )
        model = GpuModel.objects.get(slug=gpu)
        self.cards = [
            Card.objects.create(
                uuid=f"GPU-{number:08d}-{index}",
                firm=firm,
                node=self.node,
                index=index,
                gpu_model=model,
                memory_mib=model.memory_mib,
                first_seen_at=now,
            )
            for index in range(count)
        ]
        for card in self.cards:
            CardState.objects.create(card=card, availability=Availability.IDLE, since_at=now, observed_at=now)
        self.run, self.seq, self.started = 1, 0, now

    def report(self, now: datetime, *, health: int = 0) -> None:
        """One report: idle cards stay idle, running leases are running."""
        self.seq += 1
        running = Assignment.objects.filter(node=self.node, seen="running", wanted="run")
        values = [0.0] * len(CARD_FIELDS)
        values[CARD_FIELDS.index("health")] = float(health)
        Report.objects.create(
            node=self.node,
            run=self.run,
            seq=self.seq,
            received_at=now,
            observed_at=now,
            mono_ms=(now - self.started) // timedelta(milliseconds=1),
            is_live=True,
            cards=values * len(self.cards),
            leases=[[each.holder, max(each.running_epochs.values()), "running"] for each in running],
        )
        Node.objects.filter(pk=self.node.pk).update(last_seen_at=now)
        CardState.objects.filter(card__node=self.node).update(observed_at=now)

    def ack(self, now: datetime, phase: Phase, **said) -> None:
        """Say the same of every assignment that still waits for it."""
        self.seq += 1
        waiting = Assignment.objects.filter(node=self.node).exclude(seen="exited")
        acks = [Ack(each.public_id, each.holder, each.epochs, phase, self.run, self.seq, 0, **said) for each in waiting]
        record_acks(node=self.node, acks=acks, now=now)

    def run_everything(self, now: datetime) -> None:
        """Start what is wanted."""
        self.ack(now, Phase.RUNNING, ssh_user="root", ssh_host_key=HOST_KEY)

    def stop_everything(self, now: datetime) -> None:
        """Stop what is no longer wanted, memory clean."""
        self.ack(now, Phase.STOPPED, memory_at_baseline=True)
