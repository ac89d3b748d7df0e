"""Addresses of the advisor and the guide, below /api/v1/."""

from __future__ import annotations

from django.urls import path

from marketplace.fleet.views import AdvisorView, GuideView

urlpatterns = [
    path("advisor/", AdvisorView.as_view(), name="advisor"),
    path("market/<slug:gpu>/guide/", GuideView.as_view(), name="market-guide"),
]
