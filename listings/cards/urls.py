from django.urls import path

from listings.cards.views import (
    CardListingsView,
    CardListingView,
    CardPhotosView,
    CloseCardListingView,
    OpenCardListingView,
    PauseCardListingView,
)

urlpatterns = [
    path("card-listings/", CardListingsView.as_view()),
    path("card-listings/<str:listing_id>/", CardListingView.as_view()),
    path("card-listings/<str:listing_id>/photos/", CardPhotosView.as_view()),
    path("card-listings/<str:listing_id>/open/", OpenCardListingView.as_view()),
    path("card-listings/<str:listing_id>/pause/", PauseCardListingView.as_view()),
    path("card-listings/<str:listing_id>/close/", CloseCardListingView.as_view()),
]
