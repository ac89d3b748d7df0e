"""Addresses of deposits, below /api/v1/."""

from django.urls import path

from marketplace.payments import dispute_views, seller_views, top_up_views, views

urlpatterns = [
    path("seller-account/", seller_views.SellerAccountView.as_view(), name="seller-account"),
    path("seller-account/link/", seller_views.OnboardingLinkView.as_view(), name="seller-account-link"),
    path("top-up-rules/", top_up_views.TopUpRulesView.as_view(), name="top-up-rule-list"),
    path("top-up-rules/<str:rule_id>/", top_up_views.TopUpRuleView.as_view(), name="top-up-rule"),
    path("top-up-rules/<str:rule_id>/stop/", top_up_views.TopUpRuleStopView.as_view(), name="top-up-rule-stop"),
    path("payment-disputes/", dispute_views.PaymentDisputesView.as_view(), name="payment-dispute-list"),
    path("payment-disputes/<str:dispute_id>/", dispute_views.PaymentDisputeView.as_view(), name="payment-dispute"),
    path("deposits/", views.DepositListView.as_view(), name="deposit-list"),
    path("deposits/<slug:public_id>/", views.DepositView.as_view(), name="deposit"),
    path("deposits/<slug:public_id>/cancel/", views.DepositCancelView.as_view(), name="deposit-cancel"),
    path("deposits/<slug:public_id>/refund/", views.DepositRefundView.as_view(), name="deposit-refund"),
    path("deposits/<slug:public_id>/confirm/", views.DepositConfirmView.as_view(), name="deposit-confirm"),
]
