"""Reading the feed."""

from __future__ import annotations

from django.db import connection

from marketplace.common.errors import Invalid
from marketplace.events.models import Event


def events_after(*, firm_id: int, after: str | None, limit: int) -> list[Event]:
    """The firm's events behind the one named `after`, oldest first.

    Ordered by (transaction, id) and cut off before the oldest transaction that still runs, so that no event can
    appear later in front of one that a reader has already passed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        horizon = cursor.fetchone()[0]
    events = Event.objects.filter(firm_id=firm_id, xact__lt=horizon).order_by("xact", "id")
    if after:
        place = Event.objects.filter(firm_id=firm_id, public_id=after).values_list("xact", "id").first()
        if place is None:
            raise Invalid("`after` names no event of yours", code="bad_cursor")
        xact, event_id = place
        events = events.filter(xact__gte=xact).exclude(xact=xact, id__lte=event_id)
    return list(events[:limit])
