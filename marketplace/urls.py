"""Every address of Fallow."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularJSONAPIView

from listings.cards.views import card_photo
from marketplace.common import views
from marketplace.payments.webhook import stripe_webhook
from marketplace.sales.views import evidence_photo

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
    path("api/v1/", include("marketplace.payments.payouts.urls")),
    path("api/v1/", include("marketplace.catalogue.urls")),
    path("api/v1/", include("nodes.urls")),
    path("api/v1/", include("marketplace.compliance.urls")),
    path("api/v1/", include("marketplace.book.urls")),
    path("api/v1/", include("listings.urls")),
    path("api/v1/", include("listings.cards.urls")),
    path("api/v1/", include("marketplace.orders.urls")),
    path("api/v1/", include("marketplace.leases.urls")),
    path("api/v1/", include("marketplace.sales.urls")),
    path("api/v1/", include("marketplace.books.urls")),
    path("api/v1/", include("marketplace.fleet.urls")),
    path("stripe/webhook", stripe_webhook, name="stripe-webhook"),
    path("photos/cards/<str:photo_id>.jpg", card_photo, name="card-photo"),
    path("photos/sales/<str:sale_id>/<str:evidence_id>.jpg", evidence_photo, name="evidence-photo"),
    path("", include("marketplace.storefront.urls")),
]
handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.broken
