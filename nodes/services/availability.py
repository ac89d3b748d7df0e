"""From reports to what every card is doing: the tick's side of `nodes/availability.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q

from marketplace.common.hints import ring
from marketplace.events.services import record_event
from marketplace.events.transitions import transition
from nodes.agent.protocol import CARD_FIELDS, Health
from nodes.availability import CardFacts, IdlePolicy, Sample, Verdict, availability, learned_baseline
from nodes.models import CardState, IngestClock, Node, NodeReportState
from nodes.selectors import (
    ClaimTimes,
    WindowRow,
    card_states_of,
    cards_with_another_identity,
    claim_times,
    report_windows,
    uuids_in_order,
)
from nodes.states import Availability, NodeState

WINDOW_SPARE = timedelta(seconds=60)
GHOST_WINDOW = timedelta(seconds=130)
PARTITION_DAYS_AHEAD = 2
DECIDED = ["availability", "reasons", "version", "since_at", "observed_at", "baseline_mib", "sample"]
WIDTH = len(CARD_FIELDS)
IDLE = Availability.IDLE
NEWS = {Availability.UNHEALTHY, Availability.LOST, Availability.GHOST, Availability.CONTENDED}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@transaction.atomic
def process_reports(*, now: datetime, limit: int = 500) -> int:
    """Decide the cards of up to `limit` nodes that reported since they were last looked at; returns how many.

    Who was looked at longest ago comes first, so a fleet that reports faster than this reads it falls behind evenly.
    Locks nodes, not their report states, so that the ingest never waits for a tick.
    """
    waiting = Node.objects.filter(report_state__state_version__gt=F("report_state__processed_version"))
    locked = waiting.select_for_update(skip_locked=True, of=("self",), no_key=True)
    nodes = list(locked.select_related("report_state").order_by(F("last_seen_at").asc(nulls_first=True), "pk")[:limit])
    if not nodes:
        return 0
    _decide_cards([node for node in nodes if node.report_state.inventory_digest == node.inventory_digest], now)
    reports = [node.report_state for node in nodes]
    for node in nodes:
        _note_life(node, node.report_state, now)
    for report in reports:
        report.processed_version = report.state_version
    NodeReportState.objects.bulk_update(reports, ["processed_version"])
    return len(nodes)


@transaction.atomic
def mark_lost_nodes(*, now: datetime) -> int:
    """LOST is who was silent for too long while reports could be taken; returns how many became so."""
    silent_since = now - timedelta(seconds=settings.LOST_SECONDS)
    clock = IngestClock.objects.first()
    if clock and (clock.up_since_at > silent_since or now - clock.beat_at > timedelta(seconds=settings.STALE_SECONDS)):
        return 0
    silent = Node.objects.select_for_update(skip_locked=True, of=("self",), no_key=True).filter(
        Q(report_state=None) | Q(report_state__received_at__lte=silent_since),
        Q(last_seen_at=None) | Q(last_seen_at__lte=silent_since),
        state=NodeState.ONLINE,
    )
    nodes = list(silent.order_by("pk"))
    for node in nodes:
        transition(node, NodeState.LOST, reason="no_reports", now=now)
    lost = availability([], CardFacts(0), idle_policy(), now_ms=_ms(now))
    states = list(CardState.objects.filter(card__node__in=nodes))
    _write([state for state in states if _apply(state, lost, now)], supply_changed=True)
    return len(nodes)


def keep_report_partitions(*, now: datetime) -> int:
    """Make the days ahead and drop those past their keeping; returns how many tables changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT fallow_keep_report_partitions(%s, %s, %s)",
            [now.astimezone(UTC).date(), PARTITION_DAYS_AHEAD, settings.REPORT_DAYS_KEPT],
        )
        return int(cursor.fetchone()[0])


def idle_policy() -> IdlePolicy:
    """The idle rule's numbers, from the settings."""
    return IdlePolicy(
        idle_after_ms=settings.IDLE_AFTER_SECONDS * 1000,
        heartbeat_ms=settings.HEARTBEAT_SECONDS * 1000,
        lost_after_ms=settings.LOST_SECONDS * 1000,
    )


def _note_life(node: Node, report: NodeReportState, now: datetime) -> None:
    seen_at = max(report.received_at, node.last_seen_at or report.received_at)
    is_back = now - seen_at <= timedelta(seconds=settings.LOST_SECONDS)
    if node.state in {NodeState.PENDING, NodeState.LOST} and is_back:
        transition(node, NodeState.ONLINE, reason="reporting", now=now, last_seen_at=seen_at)
        ring_supply()
    else:
        Node.objects.filter(pk=node.pk).update(last_seen_at=seen_at)


def _decide_cards(nodes: Sequence[Node], now: datetime) -> None:
    states = card_states_of(nodes)
    claims = claim_times([state.card for state in states], now)
    length = max(timedelta(seconds=settings.IDLE_AFTER_SECONDS), GHOST_WINDOW) + WINDOW_SPARE
    windows = report_windows(nodes, since=now - length)
    places = {node.pk: {uuid: place for place, uuid in enumerate(uuids_in_order(node))} for node in nodes}
    draining = {node.pk: node.is_draining or node.report_state.draining for node in nodes}
    changed = cards_with_another_identity([state.card_id for state in states])
    before = {state.pk: state.availability for state in states}
    for state in states:
        node_id = state.card.node_id
        assert node_id is not None
        place = places[node_id].get(state.card.uuid)
        size = WIDTH * len(places[node_id])
        rows = [] if place is None else [row for row in windows[node_id] if len(row.values) == size]
        readings = [(row.observed_at, _reading(row, place or 0)) for row in rows]
        is_held_back = draining[node_id] or state.card_id in changed
        _decide(state, readings, claims[state.card_id], is_held_back, now)
    for state in states:
        _tell_news(state, before[state.pk], now)
    idle_changed = any((before[each.pk] == IDLE) != (each.availability == IDLE) for each in states)
    _write(states, supply_changed=idle_changed)


def _tell_news(state: CardState, before: str, now: datetime) -> None:
    """A card that becomes, or no longer is, what its owner must do something about."""
    if state.availability != before and {state.availability, before} & NEWS:
        record_event(
            firm_id=state.card.firm_id,
            type=f"card.{state.availability}",
            subject=state.card.public_id,
            reason=next(iter(state.reasons), ""),
            data={"from": before},
            now=now,
        )


def _decide(
    state: CardState,
    readings: Sequence[tuple[datetime, dict[str, float | None]]],
    claims: ClaimTimes,
    is_draining: bool,
    now: datetime,
) -> None:
    samples = [_sample(at, reading) for at, reading in readings]
    if samples and not claims.is_leased:
        newest = max(samples, key=lambda sample: sample.observed_ms)
        learned = learned_baseline(state.baseline_mib, newest)
        state.baseline_mib = None if learned is None else math.ceil(learned)
    facts = CardFacts(
        memory_total_mib=state.card.memory_mib,
        baseline_mib=state.baseline_mib,
        is_leased=claims.is_leased,
        is_draining=is_draining,
        free_since_ms=_ms(claims.free_since) if claims.free_since else None,
    )
    _apply(state, availability(samples, facts, idle_policy(), now_ms=_ms(now)), now)
    if readings:
        state.observed_at, state.sample = max(readings, key=lambda each: each[0])


def _apply(state: CardState, verdict: Verdict, now: datetime) -> bool:
    """The version grows only when something changed that the market must see."""
    if (state.availability, state.reasons) == (verdict.availability.value, list(verdict.reasons)):
        return False
    if state.availability != verdict.availability.value:
        state.since_at = now
    state.availability, state.reasons = verdict.availability.value, list(verdict.reasons)
    state.version += 1
    return True


def _write(states: list[CardState], *, supply_changed: bool) -> None:
    CardState.objects.bulk_update(states, DECIDED, batch_size=500)
    if supply_changed and states:
        ring_supply()


def ring_supply() -> None:
    """Wake the matcher once what it will read is committed."""
    transaction.on_commit(lambda: ring("supply"))


def _reading(row: WindowRow, place: int) -> dict[str, float | None]:
    values = row.values[place * WIDTH : (place + 1) * WIDTH]
    return {name: None if math.isnan(value) else value for name, value in zip(CARD_FIELDS, values, strict=True)}


def _sample(at: datetime, reading: dict[str, float | None]) -> Sample:
    return Sample(
        observed_ms=_ms(at),
        utilisation_percent=reading["utilisation_percent"],
        memory_used_mib=reading["memory_used_mib"],
        owner_processes=reading["owner_processes"],
        health=int(Health.NVML_STALLED if reading["health"] is None else reading["health"]),
    )


def _ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
