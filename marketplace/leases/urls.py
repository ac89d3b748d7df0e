from django.urls import path

from marketplace.leases.views import (
    EndLeaseView,
    LeaseLogsView,
    LeasesView,
    LeaseTelemetryView,
    LeaseUsageView,
    LeaseView,
)

urlpatterns = [
    path("leases/", LeasesView.as_view()),
    path("leases/<str:lease_id>/", LeaseView.as_view()),
    path("leases/<str:lease_id>/end/", EndLeaseView.as_view()),
    path("leases/<str:lease_id>/logs/", LeaseLogsView.as_view()),
    path("leases/<str:lease_id>/telemetry/", LeaseTelemetryView.as_view()),
    path("leases/<str:lease_id>/usage/", LeaseUsageView.as_view()),
]
