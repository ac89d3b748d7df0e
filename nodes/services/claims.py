"""Taking and giving back the right to cards. Only the matcher, sales and the proving of nodes take claims."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from marketplace.common.errors import Conflict
from nodes.models import Claim
from nodes.states import ClaimKind

# One statement, cards in order: two that want the same cards in opposite order wait for each other, never in a circle.
INSERT = """
INSERT INTO nodes_claim (card_id, period, kind, holder)
SELECT card_id, tstzrange(%(start)s, %(end)s), %(kind)s, %(holder)s
FROM unnest(%(cards)s::bigint[]) AS card_id ORDER BY card_id
ON CONFLICT DO NOTHING RETURNING id, card_id
"""


class CardsTaken(Conflict):
    """Somebody else has a right to one of these cards in this time."""

    code = "offer_gone"


def take_claims(
    *, cards: Iterable[int], start: datetime, end: datetime | None, kind: ClaimKind, holder: str
) -> dict[int, int]:
    """Card id → claim id for all cards, or CardsTaken: then the caller's transaction must be rolled back."""
    wanted = sorted(set(cards))
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {"start": start, "end": end, "kind": kind, "holder": holder, "cards": wanted})
        claims = {card: claim for claim, card in cursor.fetchall()}
    if len(claims) < len(wanted):
        raise CardsTaken("these cards are no longer free")
    return claims


def shorten_claims(*, holder: str, until: datetime) -> None:
    """Give back what lies behind `until`; a claim that would have nothing left goes away."""
    for claim in Claim.objects.select_for_update().filter(holder=holder).order_by("pk"):
        start, end = claim.period.lower, claim.period.upper
        if start >= until:
            claim.delete()
        elif end is None or end > until:
            claim.period = DateTimeTZRange(start, until)
            claim.save(update_fields=["period"])
