"""From a decoded batch to rows in PostgreSQL's binary COPY format. Pure: no clock, no database.

Readings that no card can have become NaN; a shape that the protocol does not allow is a BadBatch, because its
numbers would be read as those of another card or another field.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from nodes.agent.protocol import (
    CARD_FIELDS,
    CARDS_PER_NODE_MAX,
    REPORTS_PER_POST_MAX,
    LeaseStatus,
    Report,
    ReportBatch,
)

NAN = math.nan
INT8_MAX = 2**63 - 1
WAITED_MS_MAX = 30 * 24 * 3600 * 1000
LEASES_MAX = 2 * CARDS_PER_NODE_MAX
EPOCH_2000_US = 946_684_800_000_000  # PostgreSQL counts from the year 2000
FLOAT4_OID = 700
DIGEST = re.compile(r"[0-9a-zA-Z]{0,16}")
LEASE_ID = re.compile(r"[0-9A-Za-z_-]{1,32}")

RANGES: dict[str, tuple[float, float]] = {
    "utilisation_percent": (0, 100),
    "memory_bus_percent": (0, 100),
    "memory_used_mib": (0, 2**24),
    "temperature_c": (-100, 300),
    "power_w": (0, 100_000),
    "sm_clock_mhz": (0, 100_000),
    "owner_processes": (0, 1_000_000),
    "lease_processes": (0, 1_000_000),
    "health": (0, 2**24 - 1),
    "xid": (0, 2**24 - 1),
}
LOWS = tuple(RANGES[name][0] for name in CARD_FIELDS)
HIGHS = tuple(RANGES[name][1] for name in CARD_FIELDS)

COLUMNS = "node_id, run, seq, received_at, observed_at, mono_ms, is_live, cards, leases"
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_FIXED = struct.Struct("!h iq iq iq iq iq iq i?")
LIVE_OFFSET = _FIXED.size - 1
_NULL = struct.pack("!i", -1)


class BadBatch(ValueError):
    """The batch breaks the protocol; nothing of it is stored."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What one POST adds. `rows` are not yet live; `live` is the index of the one that is if it moves the state on."""

    node_id: int
    received_us: int
    run: int
    seq: int
    inventory: str
    draining: bool
    rows: list[bytes]
    live: int | None


def submission(node_id: int, batch: ReportBatch, *, received_us: int, heartbeat_ms: int) -> Submission:
    """The rows of a batch and the newest of its reports by (run, seq). Raises BadBatch."""
    reports = batch.reports
    if not 0 < len(reports) <= REPORTS_PER_POST_MAX:
        raise BadBatch(f"send 1 to {REPORTS_PER_POST_MAX} reports")
    place, newest = max(enumerate(reports), key=lambda each: (each[1].run, each[1].seq))
    rows = [
        _row(node_id, report, received_us, _waited_ms(batch, report, newest), f"reports[{number}]")
        for number, report in enumerate(reports)
    ]
    return Submission(
        node_id=node_id,
        received_us=received_us,
        run=newest.run,
        seq=newest.seq,
        inventory=newest.inventory,
        draining=newest.draining,
        rows=rows,
        live=place if _waited_ms(batch, newest, newest) <= heartbeat_ms else None,
    )


def live(row: bytes) -> bytes:
    """The row with `is_live` set."""
    return b"%b\x01%b" % (row[:LIVE_OFFSET], row[LIVE_OFFSET + 1 :])


def _waited_ms(batch: ReportBatch, report: Report, newest: Report) -> int:
    """How long the report lay on the host. Across a reboot only the wall clock serves."""
    boot = newest.boot if batch.boot is None else batch.boot
    same_boot = report.boot == boot and report.mono_ms <= batch.sent_mono_ms
    waited = batch.sent_mono_ms - report.mono_ms if same_boot else batch.sent_ts_ms - report.ts_ms
    return min(max(waited, 0), WAITED_MS_MAX)


def _row(node_id: int, report: Report, received_us: int, waited_ms: int, where: str) -> bytes:
    if not (0 <= report.run <= INT8_MAX and 0 <= report.seq <= INT8_MAX and 0 <= report.mono_ms <= INT8_MAX):
        raise BadBatch(f"{where}: run, seq and mono_ms are not negative and fit 63 bits")
    if not DIGEST.fullmatch(report.inventory):
        raise BadBatch(f"{where}: inventory is a digest of at most 16 letters and digits")
    received = received_us - EPOCH_2000_US
    # fmt: off
    fixed = _FIXED.pack(
        9,
        8, node_id, 8, report.run, 8, report.seq, 8, received, 8, received - waited_ms * 1000, 8, report.mono_ms,
        1, False,
    )
    # fmt: on
    return fixed + _cards(report.cards, where) + _leases(report.leases, where)


def _cards(cards: Sequence[list[float | None]], where: str) -> bytes:
    count = len(cards)
    if count > CARDS_PER_NODE_MAX:
        raise BadBatch(f"{where}: more than {CARDS_PER_NODE_MAX} cards")
    values: list[float | None] = []
    for card in cards:
        if len(card) != len(CARD_FIELDS):
            raise BadBatch(f"{where}: a card's sample has {len(CARD_FIELDS)} values")
        values += card
    layout, buffer, lows, highs = _array_of(count)
    buffer[1::2] = [
        value if value is not None and low <= value <= high else NAN
        for value, low, high in zip(values, lows, highs, strict=True)
    ]
    if not count:
        return struct.pack("!iiii", 12, 0, 0, FLOAT4_OID)
    length = count * len(CARD_FIELDS)
    return layout.pack(20 + 8 * length, 1, 0, FLOAT4_OID, length, 1, *buffer)


@functools.cache
def _array_of(count: int) -> tuple[struct.Struct, list[float], tuple[float, ...], tuple[float, ...]]:
    """The binary form of float4[], a buffer of (length, value) pairs to fill in, and the ranges of its values."""
    length = count * len(CARD_FIELDS)
    return struct.Struct("!iiiIii" + "if" * length), [4] * (2 * length), LOWS * count, HIGHS * count


def _leases(leases: Sequence[LeaseStatus], where: str) -> bytes:
    if not leases:
        return _NULL
    if len(leases) > LEASES_MAX:
        raise BadBatch(f"{where}: more than {LEASES_MAX} leases")
    for lease in leases:
        if not LEASE_ID.fullmatch(lease.id) or not 0 <= lease.epoch <= INT8_MAX:
            raise BadBatch(f"{where}: a lease has an id of at most 32 characters and an epoch that is not negative")
    text = msgspec.json.encode([(lease.id, lease.epoch, lease.phase) for lease in leases])
    return struct.pack("!ib", len(text) + 1, 1) + text
