"""Shapes of firms, members and keys in the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from marketplace.accounts.models import ApiKey, Firm, Invitation, Membership
from marketplace.accounts.roles import Role, Scope
from marketplace.common.api import StrictSerializer, page_shape


class FirmShape(serializers.Serializer[Any]):
    """The caller's own firm."""

    id = serializers.CharField()
    name = serializers.CharField()
    headquarters_country = serializers.CharField()
    ultimate_parent = serializers.CharField()
    ultimate_parent_country = serializers.CharField()
    intended_use = serializers.CharField()
    created_at = serializers.DateTimeField()


class MemberShape(serializers.Serializer[Any]):
    """A person of the firm; `id` is the person's."""

    id = serializers.CharField()
    email = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    created_at = serializers.DateTimeField()


class MemberRequestShape(StrictSerializer):
    """Who joins as what; `password` makes a sign-in for somebody who has none, until the first sign-in."""

    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Role.choices)
    password = serializers.CharField(required=False, max_length=200, write_only=True, trim_whitespace=False)


class InvitationShape(serializers.Serializer[Any]):
    """A role that a firm offers to somebody who has an account."""

    id = serializers.CharField()
    firm = serializers.CharField()
    firm_name = serializers.CharField()
    email = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    created_at = serializers.DateTimeField()


class NewInvitationShape(InvitationShape):
    """The answer to inviting: hand `code` to the person; it is not shown again."""

    code = serializers.CharField()


class AcceptanceShape(StrictSerializer):
    """The body of POST /invitations/{id}/accept/."""

    code = serializers.CharField(max_length=40)


class ApiKeyShape(serializers.Serializer[Any]):
    """A key; its text is never shown again."""

    id = serializers.CharField()
    name = serializers.CharField()
    hint = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class NewApiKeyShape(ApiKeyShape):
    """The answer to making one: `key` this once, null when the request is repeated."""

    key = serializers.CharField(allow_null=True)


class ApiKeyRequestShape(StrictSerializer):
    """The body of POST /api-keys/."""

    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), min_length=1, max_length=5)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


InvitationPage = page_shape("InvitationPage", InvitationShape)
MemberPage = page_shape("MemberPage", MemberShape)
ApiKeyPage = page_shape("ApiKeyPage", ApiKeyShape)


def firm_json(firm: Firm) -> dict[str, Any]:
    """A firm as its own people see it."""
    names = ("name", "headquarters_country", "ultimate_parent", "ultimate_parent_country", "intended_use", "created_at")
    return {"id": firm.public_id} | {name: getattr(firm, name) for name in names}


def member_json(membership: Membership) -> dict[str, Any]:
    """A person and the role."""
    return {
        "id": membership.user.public_id,
        "email": membership.user.email,
        "role": membership.role,
        "created_at": membership.created_at,
    }


def invitation_json(invitation: Invitation) -> dict[str, Any]:
    """Who asks whom to be what."""
    return {
        "id": invitation.public_id,
        "firm": invitation.firm.public_id,
        "firm_name": invitation.firm.name,
        "email": invitation.user.email,
        "role": invitation.role,
        "created_at": invitation.created_at,
    }


def api_key_json(key: ApiKey) -> dict[str, Any]:
    """A key without its text."""
    names = ("name", "hint", "scopes", "created_at", "expires_at", "last_used_at")
    return {"id": key.public_id} | {name: getattr(key, name) for name in names}
