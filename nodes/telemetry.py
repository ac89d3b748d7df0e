"""Series over time from the reports and claims, averaged by PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from marketplace.accounts.models import Firm
from marketplace.common.errors import Invalid
from nodes.agent.protocol import CARD_FIELDS
from nodes.models import Card, Node

SHOWN = ("utilisation_percent", "memory_used_mib", "power_w", "temperature_c")
POINTS_MAX = 1000
STEP_SECONDS_MIN = 5
DAYS_MAX = 31
FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)  # no time lies before it
WIDTH = len(CARD_FIELDS)


def _average(name: str) -> str:
    return f"avg(nullif(cards[place * {WIDTH} + {CARD_FIELDS.index(name) + 1}], 'NaN'))"


# Only numbers of our own are put into the text.
NODE_SERIES = f"""
SELECT place, date_bin(make_interval(secs => %(step)s), observed_at, %(since)s) AS at,
    {", ".join(_average(name) for name in SHOWN)}
FROM nodes_report CROSS JOIN LATERAL generate_series(0, coalesce(array_length(cards, 1), 0) / {WIDTH} - 1) AS place
WHERE node_id = %(node)s AND received_at >= %(since)s AND observed_at >= %(since)s AND observed_at < %(until)s
GROUP BY place, at ORDER BY place, at
"""  # noqa: S608
FLEET_SERIES = f"""
WITH step AS (
    SELECT at, least(at + make_interval(secs => %(step)s), %(until)s) AS ends
    FROM generate_series(%(since)s, %(until)s - interval '1 microsecond', make_interval(secs => %(step)s)) AS at
), busy AS (
    SELECT date_bin(make_interval(secs => %(step)s), observed_at, %(since)s) AS at,
        {_average("utilisation_percent")} AS percent
    FROM nodes_report
    CROSS JOIN LATERAL generate_series(0, coalesce(array_length(cards, 1), 0) / {WIDTH} - 1) AS place
    WHERE node_id = ANY(%(nodes)s) AND received_at >= %(since)s
        AND observed_at >= %(since)s AND observed_at < %(until)s
    GROUP BY 1
)
SELECT step.at, busy.percent, (
    SELECT sum(extract(epoch FROM least(upper(c.period), step.ends) - greatest(lower(c.period), step.at)))
    FROM nodes_claim c
    WHERE c.kind = 'lease' AND c.card_id = ANY(%(cards)s) AND c.period && tstzrange(step.at, step.ends)
), extract(epoch FROM step.ends - step.at)
FROM step LEFT JOIN busy USING (at) ORDER BY step.at
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in steps."""

    since: datetime
    until: datetime
    step_seconds: int

    def json(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"since": self.since, "until": self.until, "step_seconds": self.step_seconds}


def stretch(query: Mapping[str, Any], *, now: datetime, length: timedelta, step_seconds: int) -> Stretch:
    """What a query asks for, or Invalid; the step grows where there would be too many points."""
    until = min(query.get("until", now), now)
    before = until - length if until - FIRST_DAY > length else FIRST_DAY
    since = query.get("since", before)
    if not timedelta(0) < until - since <= timedelta(days=DAYS_MAX):
        raise Invalid(f"`since` must lie before `until`, at most {DAYS_MAX} days", code="bad_stretch")
    shortest = -(-int((until - since).total_seconds()) // POINTS_MAX)
    return Stretch(since, until, max(query.get("step_seconds", step_seconds), shortest, STEP_SECONDS_MIN))


def card_series(node: Node, cards: Iterable[Card], over: Stretch) -> list[dict[str, Any]]:
    """The averages of these cards of the node's; nothing from before its cards stood in their present order."""
    since = max(over.since, node.inventory_at or over.since)
    points: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(NODE_SERIES, {"node": node.pk, "since": since, "until": over.until, "step": over.step_seconds})
        for place, at, *values in cursor.fetchall():
            points[place].append({"at": at.astimezone(UTC)} | dict(zip(SHOWN, values, strict=True)))
    by_place = sorted(cards, key=lambda card: card.index)
    return [{"card": card.public_id, "points": points[card.index]} for card in by_place]


def fleet_series(firm: Firm, over: Stretch) -> list[dict[str, Any]]:
    """The firm's fleet as it stands today, step by step."""
    cards = list(Card.objects.filter(firm=firm).values_list("pk", flat=True))
    nodes = list(Node.objects.filter(firm=firm).values_list("pk", flat=True))
    parameters: dict[str, Any] = {
        "nodes": nodes, "cards": cards, "since": over.since, "until": over.until, "step": over.step_seconds
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(FLEET_SERIES, parameters)
        return [
            {
                "at": at.astimezone(UTC),
                "utilisation_percent": busy,
                "leased_percent": 100 * float(leased or 0) / (float(seconds) * len(cards)) if cards else None,
            }
            for at, busy, leased, seconds in cursor.fetchall()
        ]
