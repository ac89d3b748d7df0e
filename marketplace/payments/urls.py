"""Addresses of deposits, below /api/v1/."""

from django.urls import path

from marketplace.payments import views

urlpatterns = [
    path("deposits/", views.DepositListView.as_view(), name="deposit-list"),
    path("deposits/<slug:public_id>/", views.DepositView.as_view(), name="deposit"),
    path("deposits/<slug:public_id>/cancel/", views.DepositCancelView.as_view(), name="deposit-cancel"),
    path("deposits/<slug:public_id>/confirm/", views.DepositConfirmView.as_view(), name="deposit-confirm"),
]
