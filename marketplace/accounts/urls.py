"""Addresses of the firm, its members and keys, below /api/v1/."""

from django.urls import path

from marketplace.accounts import views

urlpatterns = [
    path("firm/", views.FirmView.as_view(), name="firm"),
    path("members/", views.MemberListView.as_view(), name="member-list"),
    path("members/<slug:public_id>/", views.MemberView.as_view(), name="member"),
    path("api-keys/", views.ApiKeyListView.as_view(), name="api-key-list"),
    path("api-keys/<slug:public_id>/", views.ApiKeyView.as_view(), name="api-key"),
]
