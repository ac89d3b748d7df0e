"""The cursor feed of everything that happened to the firm."""

from __future__ import annotations

from typing import Any, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.common.api import parse_query
from marketplace.events.selectors import events_after
from marketplace.events.serializers import EventPage, EventQuery, event_json


class EventListView(APIView):
    """Oldest first; pass `next_cursor` as `after` to go on, also when there was nothing new."""

    @extend_schema(parameters=[EventQuery], responses=EventPage, operation_id="events_list")
    def get(self, request: Request) -> Response:
        query = parse_query(EventQuery, request)
        after, limit = query.get("after"), query["limit"]
        events = events_after(firm_id=cast("Any", request.auth).firm.pk, after=after, limit=limit + 1)
        shown = events[:limit]
        return Response(
            {
                "data": [event_json(event) for event in shown],
                "next_cursor": shown[-1].public_id if shown else after,
                "has_more": len(events) > limit,
            }
        )
