"""Addresses of the fleet's API, below /api/v1/."""

from __future__ import annotations

from django.urls import path

from nodes.views.fleet import (
    EnrolmentTokenListView,
    EnrolmentTokenView,
    FleetUtilisationView,
    NodeListView,
    NodeProveView,
    NodeRetireView,
    NodeTelemetryView,
    NodeView,
)
from nodes.views.passports import CardPassportView, PassportKeyView, PassportVerifyView, PassportView

urlpatterns = [
    path("nodes/enrolment-tokens/", EnrolmentTokenListView.as_view(), name="enrolment-token-list"),
    path("nodes/enrolment-tokens/<str:public_id>/", EnrolmentTokenView.as_view(), name="enrolment-token"),
    path("nodes/", NodeListView.as_view(), name="node-list"),
    path("nodes/<str:public_id>/", NodeView.as_view(), name="node"),
    path("nodes/<str:public_id>/retire/", NodeRetireView.as_view(), name="node-retire"),
    path("nodes/<str:public_id>/prove/", NodeProveView.as_view(), name="node-prove"),
    path("nodes/<str:public_id>/telemetry/", NodeTelemetryView.as_view(), name="node-telemetry"),
    path("cards/<str:card_id>/passport/", CardPassportView.as_view(), name="card-passport"),
    path("passports/key/", PassportKeyView.as_view(), name="passport-key"),
    path("passports/verify/", PassportVerifyView.as_view(), name="passport-verify"),
    path("passports/<str:public_id>/", PassportView.as_view(), name="passport"),
    path("fleet/utilisation/", FleetUtilisationView.as_view(), name="fleet-utilisation"),
]
