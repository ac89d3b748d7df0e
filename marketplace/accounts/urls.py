"""Addresses of the firm, its members and keys, below /api/v1/."""

from django.urls import path

from marketplace.accounts import views

urlpatterns = [
    path("firm/", views.FirmView.as_view(), name="firm"),
    path("members/", views.MemberListView.as_view(), name="member-list"),
    path("members/<slug:public_id>/", views.MemberView.as_view(), name="member"),
    path("member-invitations/", views.FirmInvitationListView.as_view(), name="member-invitation-list"),
    path("member-invitations/<slug:public_id>/", views.FirmInvitationView.as_view(), name="member-invitation"),
    path("invitations/", views.InvitationListView.as_view(), name="invitation-list"),
    path("invitations/<slug:public_id>/accept/", views.InvitationAcceptView.as_view(), name="invitation-accept"),
    path("invitations/<slug:public_id>/decline/", views.InvitationDeclineView.as_view(), name="invitation-decline"),
    path("api-keys/", views.ApiKeyListView.as_view(), name="api-key-list"),
    path("api-keys/<slug:public_id>/", views.ApiKeyView.as_view(), name="api-key"),
]
