"""Addresses of the feed, below /api/v1/."""

from django.urls import path

from marketplace.events.views import EventListView

urlpatterns = [path("events/", EventListView.as_view(), name="event-list")]
