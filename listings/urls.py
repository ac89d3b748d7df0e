from django.urls import path

from listings.views import ListingActionView, ListingsView, ListingView, OffersView

urlpatterns = [
    path("offers/", OffersView.as_view()),
    path("capacity-listings/", ListingsView.as_view()),
    path("capacity-listings/<str:listing_id>/", ListingView.as_view()),
    path("capacity-listings/<str:listing_id>/<str:action>/", ListingActionView.as_view()),
]
