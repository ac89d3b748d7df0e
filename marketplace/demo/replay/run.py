"""Runs the trace's requests through the real services, second by second of the trace's own clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from marketplace.common.errors import DomainError
from marketplace.demo.replay.trace import TraceNode, TraceRequest
from marketplace.demo.replay.world import BEGIN, HOST_KEY, World, highest_concurrency
from marketplace.leases.models import Lease
from marketplace.leases.services.advancing import advance_leases, start_reserved_leases
from marketplace.leases.services.starting import activate_leases, reachable_leases
from marketplace.ledger.models import Entry
from marketplace.matching.rounds import run_due_round
from marketplace.orders.models import Order
from marketplace.orders.services.placing import OrderRequest, place_order
from marketplace.orders.states import OrderState
from marketplace.settlement.services import settle_lease

MARGIN = timedelta(days=2)
CAP_MICROS = 100_000_000


@dataclass
class Replay:
    """What the replay has counted so far."""

    world: World
    requests: Sequence[TraceRequest]
    placed: dict[str, TraceRequest] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    seconds_placing: float = 0.0

    def run(self, progress: Callable[[int], None]) -> None:
        """All requests of one moment are one batch; leases that end before the next moment end first."""
        done = 0
        for start, batch in _moments(self.requests):
            now = BEGIN + timedelta(seconds=start)
            self._end_until(now)
            self.world.follow_owners(now)
            self._place(batch, now)
            done += len(batch)
            progress(done)
        self._end_until(self._end())

    def _place(self, batch: Sequence[TraceRequest], now: datetime) -> None:
        began = time.monotonic()
        for request in batch:
            try:
                order = place_order(firm=self.world.buyer, actor="replay", request=self._order(request), now=now)
            except DomainError as error:
                self.refused[error.code] += 1
            else:
                self.placed[order.public_id] = request
        run_due_round(now=now)
        start_reserved_leases(now=now)
        self.world.start_everything(now)
        advance_leases(now=now)
        activate_leases(lease_ids=reachable_leases(now=now, probe=_answers, limit=len(batch)), now=now)
        self.seconds_placing += time.monotonic() - began
        active = Lease.objects.filter(state="active", active_at=now).values_list("public_id", flat=True)
        self.world.prove(active, now)

    def _end_until(self, now: datetime) -> None:
        """End every lease whose window is over by `now`, each at its own time."""
        while True:
            next_end = (
                Lease.objects.filter(state="active").order_by("ends_at").values_list("ends_at", flat=True).first()
            )
            if next_end is None or next_end > now:
                return
            ending = dict(Lease.objects.filter(state="active", ends_at=next_end).values_list("pk", "public_id"))
            self.world.prove(ending.values(), next_end)
            advance_leases(now=next_end)
            self.world.stop_everything(next_end)
            advance_leases(now=next_end)
            for pk in ending:  # the others' minute by minute would be the same sum in more entries
                settle_lease(lease_id=pk, now=next_end)

    def _end(self) -> datetime:
        return BEGIN + timedelta(seconds=max((each.start + each.seconds for each in self.requests), default=0)) + MARGIN

    def _order(self, request: TraceRequest) -> OrderRequest:
        return OrderRequest(
            count=request.cards,
            duration_seconds=request.seconds,
            currency="USD",
            cap_micros=CAP_MICROS,
            time_in_force="ioc",
            gpus=self.world.slugs(request.models),
            workload={"image": "replay", "ssh_public_key": HOST_KEY},
        )


def window_end(requests: Iterable[TraceRequest]) -> datetime:
    """When every listing ends: after the last request."""
    last = max((each.start + each.seconds for each in requests), default=0)
    return BEGIN + timedelta(seconds=last) + 2 * MARGIN


def table(replay: Replay, nodes: Sequence[TraceNode], without_gpu: int) -> dict[str, Any]:
    """The figures; hours are card-hours."""
    leases = {lease.order.public_id: lease for lease in Lease.objects.select_related("order")}
    reserved = sum(lease.gpu_ms for lease in leases.values()) / 3_600_000
    used = sum(lease.gpu_ms * replay.placed[order].milli for order, lease in leases.items()) / 3_600_000_000
    hours = max((each.start + each.seconds for each in replay.requests), default=0) / 3600
    owners = replay.world.owners
    hours_of_all = sum(node.cards for node in nodes) * hours
    offered = hours_of_all * _mean([owner.idle_share for owner in owners], default=1.0)
    before = _mean([owner.duty for owner in owners], default=0.0)
    unmatched = Order.objects.exclude(state=OrderState.FILLED)
    reasons = Counter(unmatched.values_list("end_reason", flat=True)) + replay.refused
    return {
        "requests": len(replay.requests),
        "asked for no GPU": without_gpu,
        "matched": Order.objects.filter(state=OrderState.FILLED).count(),
        "why not": dict(reasons),
        "cards": sum(node.cards for node in nodes),
        "card-hours offered": round(offered, 1),
        "card-hours reserved": round(reserved, 1),
        "card-hours used (× gpu_milli)": round(used, 1),
        "utilisation before": _percent(before),
        "utilisation after, reserved": _percent(before + reserved / hours_of_all) if hours_of_all else "-",
        "utilisation after, used": _percent(before + used / hours_of_all) if hours_of_all else "-",
        "highest concurrency per card": highest_concurrency(),
        "ledger sum": Entry.objects.aggregate(total=Sum("amount_micros", default=0))["total"],
        "orders/s": round(len(replay.requests) / replay.seconds_placing, 1) if replay.seconds_placing else 0,
    }


def _mean(values: Sequence[float], *, default: float) -> float:
    return sum(values) / len(values) if values else default


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _moments(requests: Sequence[TraceRequest]) -> Iterable[tuple[int, list[TraceRequest]]]:
    batch: list[TraceRequest] = []
    for request in requests:
        if batch and request.start != batch[0].start:
            yield batch[0].start, batch
            batch = []
        batch.append(request)
    if batch:
        yield batch[0].start, batch


def _answers(host: str, port: int, host_key: str) -> None:
    """The trace's containers always answer."""
