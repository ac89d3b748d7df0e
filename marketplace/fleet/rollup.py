"""One hour of all cards from the reports, in one statement."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from nodes.agent.protocol import CARD_FIELDS
from nodes.availability import UNUSABLE, IdlePolicy
from nodes.services.availability import idle_policy
from nodes.states import ClaimKind, NodeState

HOUR = timedelta(hours=1)
LATE = timedelta(hours=1)  # a report that was spooled for longer than this counts no more
WIDTH = len(CARD_FIELDS)


def _value(name: str) -> str:
    return f"nullif(r.cards[p.place * {WIDTH} + {CARD_FIELDS.index(name) + 1 - WIDTH}], 'NaN')"


# A report stands for the time until the node's next one, at most STALE seconds, so that a repeated report adds nothing.
# Everything happens node by node: a slice of the reports by their index, the places of its cards, sums. So the work
# grows with the fleet and not with its square, and no sort outgrows the memory. OFFSET 0 has the few values that are
# wanted taken out of the arrays before anything is sorted. Only numbers of our own are put into the text.
ROLL_UP = f"""
WITH leased AS MATERIALIZED (
    SELECT card_id, range_agg(period) AS periods FROM nodes_claim
    WHERE kind = '{ClaimKind.LEASE}' AND period && tstzrange(%(since)s, %(until)s) GROUP BY card_id
), sums AS (
    SELECT n.firm_id, told.* FROM nodes_node n CROSS JOIN LATERAL (
        SELECT card_id, doing, sum(seconds) AS seconds,
            sum(utilisation * seconds) AS utilisation, sum(seconds) FILTER (WHERE utilisation IS NOT NULL) AS utilised,
            sum(power * seconds) AS power, sum(seconds) FILTER (WHERE power IS NOT NULL) AS powered
        FROM (
            SELECT p.card_id, extract(epoch FROM r.ends - r.begins)::float8 AS seconds,
                {_value("utilisation_percent")} AS utilisation, {_value("power_w")} AS power,
                CASE
                    WHEN p.leased @> r.observed_at THEN 1
                    WHEN coalesce({_value("health")}, {int(UNUSABLE)})::int & {int(UNUSABLE)} <> 0 THEN 2
                    WHEN coalesce({_value("owner_processes")}, 0) > 0
                        OR coalesce({_value("utilisation_percent")}, 0) > %(busy)s
                        OR coalesce({_value("memory_used_mib")}, 'infinity') > p.memory_limit THEN 3
                    ELSE 4
                END AS doing
            FROM (
                SELECT r.received_at, r.cards, r.observed_at, greatest(r.observed_at, %(since)s) AS begins,
                    least(
                        lead(r.observed_at) OVER (ORDER BY r.observed_at), r.observed_at + %(stale)s, %(until)s
                    ) AS ends
                FROM nodes_report r
                WHERE r.node_id = n.id AND r.received_at >= %(first)s AND r.received_at < %(late)s
                    AND r.observed_at >= %(first)s AND r.observed_at < %(until)s
            ) r
            JOIN (
                SELECT o.since_at, o.until_at, u.place, cardinality(o.uuids) * {WIDTH} AS width, c.id AS card_id,
                    l.periods AS leased, greatest(
                        coalesce(t.baseline_mib, 0) + %(slack)s, c.memory_mib * %(slack_share)s
                    )::float8 AS memory_limit
                FROM (
                    SELECT uuids, since_at, lead(since_at, 1, 'infinity') OVER (ORDER BY since_at, id) AS until_at
                    FROM nodes_cardorder WHERE node_id = n.id
                ) o
                CROSS JOIN LATERAL unnest(o.uuids) WITH ORDINALITY AS u(uuid, place)
                JOIN nodes_card c ON c.uuid = u.uuid
                LEFT JOIN nodes_cardstate t ON t.card_id = c.id
                LEFT JOIN leased l ON l.card_id = c.id
                WHERE o.since_at < %(late)s AND o.until_at > %(first)s
                OFFSET 0
            ) p ON r.received_at >= p.since_at AND r.received_at < p.until_at AND cardinality(r.cards) = p.width
            WHERE r.ends > r.begins
            OFFSET 0
        ) read GROUP BY card_id, doing
    ) told
    WHERE n.state <> '{NodeState.QUARANTINED}'
)
INSERT INTO fleet_cardhour (
    card_id, firm_id, hour_at, seen_seconds, idle_seconds, leased_seconds, owner_seconds, utilisation_percent, power_w
)
SELECT card_id, max(firm_id), %(since)s, least(sum(seconds), 3600)::int,
    least(coalesce(sum(seconds) FILTER (WHERE doing = 4), 0), 3600)::int,
    least(coalesce(sum(seconds) FILTER (WHERE doing = 1), 0), 3600)::int,
    least(coalesce(sum(seconds) FILTER (WHERE doing = 3), 0), 3600)::int,
    sum(utilisation) / nullif(sum(utilised), 0), sum(power) / nullif(sum(powered), 0)
FROM sums GROUP BY card_id
ON CONFLICT (card_id, hour_at) DO UPDATE SET
    firm_id = excluded.firm_id, seen_seconds = excluded.seen_seconds, idle_seconds = excluded.idle_seconds,
    leased_seconds = excluded.leased_seconds, owner_seconds = excluded.owner_seconds,
    utilisation_percent = excluded.utilisation_percent, power_w = excluded.power_w
"""  # noqa: S608


def roll_up_hour(hour_at: datetime) -> int:
    """Write what every card did in the hour that begins then, over what was written before; returns how many cards."""
    policy = idle_policy()
    stale = timedelta(seconds=settings.STALE_SECONDS)
    until = hour_at + HOUR
    parameters: dict[str, Any] = {
        "since": hour_at,
        "until": until,
        "first": hour_at - stale,
        "late": until + LATE,
        "stale": stale,
        **_idle_limits(policy),
    }
    with connection.cursor() as cursor:
        cursor.execute(ROLL_UP, parameters)
        return int(cursor.rowcount)


def _idle_limits(policy: IdlePolicy) -> dict[str, float]:
    """The availability rule of one reading; a whole window is not asked for here."""
    return {
        "busy": policy.utilisation_p95_percent_max,
        "slack": policy.memory_slack_mib,
        "slack_share": policy.memory_slack_percent / 100,
    }
