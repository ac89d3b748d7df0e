"""Every address of Fallow."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularJSONAPIView

from marketplace.common import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("nodes.agent_urls")),
    path("healthz", views.alive, name="healthz"),
    path("readyz", views.ready, name="readyz"),
    path("api/docs/", views.api_docs, name="api-docs"),
    path("api/v1/openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("api/v1/", include("marketplace.accounts.urls")),
    path("api/v1/", include("marketplace.events.urls")),
    path("api/v1/", include("marketplace.ledger.urls")),
    path("api/v1/", include("marketplace.payments.urls")),
    path("api/v1/", include("marketplace.catalogue.urls")),
    path("api/v1/", include("nodes.urls")),
    path("api/v1/", include("listings.urls")),
    path("api/v1/", include("marketplace.orders.urls")),
    path("api/v1/", include("marketplace.leases.urls")),
    path("api/v1/", include("marketplace.fleet.urls")),
    path("", include("marketplace.storefront.urls")),
]
handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.broken
