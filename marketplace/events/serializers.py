"""Shapes of the feed."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.common.api import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, page_shape
from marketplace.events.models import Event


class EventQuery(serializers.Serializer[Any]):
    """`after` is the id of the last event seen; without it the feed begins at its beginning."""

    after = serializers.CharField(max_length=32, required=False)
    limit = serializers.IntegerField(min_value=1, max_value=PAGE_LIMIT_MAX, default=PAGE_LIMIT_DEFAULT)


class EventShape(serializers.Serializer[Any]):
    """One fact."""

    id = serializers.CharField()
    at = serializers.DateTimeField()
    type = serializers.CharField()
    subject = serializers.CharField()
    reason = serializers.CharField()
    actor = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


EventPage = page_shape("EventPage", EventShape)


def event_json(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "id": event.public_id,
        "at": event.at,
        "type": event.type,
        "subject": event.subject,
        "reason": event.reason,
        "actor": event.actor,
        "data": event.data,
    }
