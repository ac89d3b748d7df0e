"""Addresses of the wallet, below /api/v1/."""

from django.urls import path

from marketplace.ledger import views

urlpatterns = [
    path("wallet/", views.WalletView.as_view(), name="wallet"),
    path("wallet/statement/", views.StatementView.as_view(), name="wallet-statement"),
]
