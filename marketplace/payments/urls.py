"""Addresses of deposits, below /api/v1/."""

from django.urls import path

from marketplace.payments import seller_views, views

urlpatterns = [
    path("seller-account/", seller_views.SellerAccountView.as_view(), name="seller-account"),
    path("seller-account/link/", seller_views.OnboardingLinkView.as_view(), name="seller-account-link"),
    path("deposits/", views.DepositListView.as_view(), name="deposit-list"),
    path("deposits/<slug:public_id>/", views.DepositView.as_view(), name="deposit"),
    path("deposits/<slug:public_id>/cancel/", views.DepositCancelView.as_view(), name="deposit-cancel"),
    path("deposits/<slug:public_id>/refund/", views.DepositRefundView.as_view(), name="deposit-refund"),
    path("deposits/<slug:public_id>/confirm/", views.DepositConfirmView.as_view(), name="deposit-confirm"),
]
