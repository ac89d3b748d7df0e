"""Addresses of the catalogue's API, below /api/v1/."""

from django.urls import path

from marketplace.catalogue.views import GpuModelListView, GpuModelView

urlpatterns = [
    path("gpu-models/", GpuModelListView.as_view(), name="gpu-model-list"),
    path("gpu-models/<slug:slug>/", GpuModelView.as_view(), name="gpu-model"),
]
