"""Addresses of payouts and bank details, below /api/v1/."""

from django.urls import path

from marketplace.payments.payouts import views

urlpatterns = [
    path("payouts/", views.PayoutListView.as_view(), name="payout-list"),
    path("payouts/terms/", views.PayoutTermsView.as_view(), name="payout-terms"),
    path("payouts/<str:payout_id>/", views.PayoutView.as_view(), name="payout"),
    path("payouts/<str:payout_id>/cancel/", views.PayoutCancelView.as_view(), name="payout-cancel"),
    path("bank-details/", views.BankDetailsListView.as_view(), name="bank-details-list"),
    path(
        "bank-details/<str:details_id>/withdraw/", views.BankDetailsWithdrawView.as_view(), name="bank-details-withdraw"
    ),
]
