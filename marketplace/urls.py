"""Every address of Fallow."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("nodes.agent_urls")),
    path("api/v1/", include("marketplace.catalogue.urls")),
    path("api/v1/", include("listings.urls")),
    path("api/v1/", include("marketplace.orders.urls")),
    path("api/v1/", include("marketplace.leases.urls")),
]
