"""What the market itself saw of a card while it was rented: part of what it countersigns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from nodes.agent.protocol import CARD_FIELDS, Health
from nodes.models import Card, CardOrder, Claim, IdentityConflict, Passport
from nodes.states import ARRIVED, MOVE, ClaimKind

WIDTH = len(CARD_FIELDS)
FLAGS = {
    "row_remap_pending": Health.ROW_REMAP_PENDING,
    "row_remap_failed": Health.ROW_REMAP_FAILED,
    "ecc_uncorrected": Health.ECC_UNCORRECTED,
    "hardware_slowdown": Health.HARDWARE_SLOWDOWN,
}


def _reading(name: str) -> str:
    return f"nullif(cards[%(place)s * {WIDTH} + {CARD_FIELDS.index(name) + 1}], 'NaN')"


# Only numbers of our own are put into the text.
STRETCH = f"""
SELECT count(*), max({_reading("temperature_c")})::int, max({_reading("power_w")})::int,
    coalesce(bit_or({_reading("health")}::int), 0),
    coalesce(array_agg(DISTINCT {_reading("xid")}::int) FILTER (WHERE {_reading("xid")} > 0), ARRAY[]::int[])
FROM nodes_report WHERE node_id = %(node)s AND received_at >= %(since)s AND received_at < %(until)s
"""  # noqa: S608


def lease_history(card: Card, previous: Passport | None, *, now: datetime) -> dict[str, Any]:
    """Hours leased since it was first seen; the hottest, the Xids and row remaps of the reports that are kept.

    Reports are dropped after some days, so what the passport before knew is carried on.
    """
    since = max(card.first_seen_at, now - timedelta(days=settings.REPORT_DAYS_KEPT))
    seen = _seen(card, since, now)
    earlier = _earlier(previous)
    leases, hours = _leased(card, now)
    return {
        "since": _earliest(earlier.get("since"), since),
        "first_seen_at": instant(card.first_seen_at),
        "leases": leases,
        "hours_leased": hours,
        "reports_seen": seen["reports"],
        "temperature_max_c": _highest(earlier.get("temperature_max_c"), seen["temperature_max_c"]),
        "power_max_w": _highest(earlier.get("power_max_w"), seen["power_max_w"]),
        "xids": sorted({*seen["xids"], *earlier.get("xids", [])}),
    } | {name: bool(seen["health"] & flag or earlier.get(name)) for name, flag in FLAGS.items()}


def instant(at: datetime) -> str:
    """A time as passports write it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _leased(card: Card, now: datetime) -> tuple[int, int]:
    """How many leases had begun, and whole hours of them so far."""
    claims = Claim.objects.filter(card=card, kind=ClaimKind.LEASE, period__startswith__lt=now)
    seconds = sum(
        (min(period.upper or now, now) - period.lower).total_seconds()
        for period in claims.values_list("period", flat=True)
    )
    return len(claims), int(seconds // 3600)


def _seen(card: Card, since: datetime, now: datetime) -> dict[str, Any]:
    found: dict[str, Any] = {
        "reports": 0, "temperature_max_c": None, "power_max_w": None, "health": 0, "xids": set()
    }  # fmt: skip
    with connection.cursor() as cursor:
        for node_id, place, begins, ends in _stretches(card, since, now):
            cursor.execute(STRETCH, {"node": node_id, "place": place, "since": begins, "until": ends})
            reports, temperature, power, health, xids = cursor.fetchone()
            found["reports"] += reports
            found["temperature_max_c"] = _highest(found["temperature_max_c"], temperature)
            found["power_max_w"] = _highest(found["power_max_w"], power)
            found["health"] |= health
            found["xids"] |= set(xids)
    return found


def _stretches(card: Card, since: datetime, now: datetime) -> list[tuple[int, int, datetime, datetime]]:
    """Where the card stood in whose reports, from when to when; not on a node that is disputed to have it."""
    disputed = IdentityConflict.objects.filter(card=card).exclude(ruling__in=[MOVE, ARRIVED]).values("newcomer")
    nodes = CardOrder.objects.filter(uuids__contains=[card.uuid]).exclude(node__in=disputed).values("node")
    orders = CardOrder.objects.filter(node__in=nodes).order_by("node_id", "since_at", "pk")
    rows = list(orders.values_list("node_id", "since_at", "uuids"))
    stretches = []
    for (node_id, begins, uuids), follower in zip(rows, [*rows[1:], (None, None, None)], strict=True):
        ends = follower[1] if follower[0] == node_id and follower[1] is not None else now
        if card.uuid in uuids and ends > since:
            stretches.append((node_id, uuids.index(card.uuid), max(begins, since), ends))
    return stretches


def _earlier(previous: Passport | None) -> Mapping[str, Any]:
    if previous is None:
        return {}
    found: Mapping[str, Any] = previous.recorded.get("history", {})
    return found


def _earliest(earlier: str | None, since: datetime) -> str:
    return min(filter(None, (earlier, instant(since))))


def _highest(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)
