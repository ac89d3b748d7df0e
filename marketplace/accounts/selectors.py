"""Finding a firm's people and keys."""

from __future__ import annotations

from django.db.models import QuerySet

from marketplace.accounts.models import ApiKey, Firm, Membership


def members_of(firm: Firm) -> QuerySet[Membership]:
    """Who works for the firm."""
    return Membership.objects.filter(firm=firm).select_related("user")


def living_keys_of(firm: Firm) -> QuerySet[ApiKey]:
    """The keys that were not revoked."""
    return ApiKey.objects.filter(firm=firm, revoked_at=None)
