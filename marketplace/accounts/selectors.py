"""Finding a firm's people and keys."""

from __future__ import annotations

import re
from collections.abc import Collection

from django.db.models import QuerySet

from marketplace.accounts.models import ApiKey, Firm, Invitation, Membership, User
from marketplace.accounts.roles import Role
from marketplace.common.errors import NotFound


def lock_firm(firm: Firm) -> None:
    """Let nobody else count the firm's things until the end of the transaction."""
    Firm.objects.select_for_update(no_key=True).get(pk=firm.pk)


def members_of(firm: Firm) -> QuerySet[Membership]:
    """Who works for the firm."""
    return Membership.objects.filter(firm=firm).select_related("user")


def owners_of(firm_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """Who stands behind each firm: its own name, its ultimate parent's, and the people who own it here.

    Two firms that have one of these in common are linked: what they sell each other has no price of the market.
    """
    behind = {
        pk: {f"firm {_written_alike(name)}" for name in names if name.strip()}
        for pk, *names in Firm.objects.filter(pk__in=firm_ids).values_list("pk", "name", "ultimate_parent")
    }
    owners = Membership.objects.filter(firm__in=firm_ids, role=Role.OWNER)
    for firm_id, user_id in owners.values_list("firm_id", "user_id"):
        behind[firm_id].add(f"person {user_id}")
    return {pk: frozenset(keys) for pk, keys in behind.items()}


def _written_alike(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold()))


def invitations_of(firm: Firm) -> QuerySet[Invitation]:
    """Whom the firm has asked and who has not answered."""
    return Invitation.objects.filter(firm=firm).select_related("firm", "user")


def invitations_for(user: User) -> QuerySet[Invitation]:
    """Which firms have asked the person."""
    return Invitation.objects.filter(user=user).select_related("firm", "user")


def invitation_of(user: User, public_id: str) -> Invitation:
    """One of them; NotFound for anything else."""
    invitation = invitations_for(user).filter(public_id=public_id).first()
    if invitation is None:
        raise NotFound
    return invitation


def invitation_for_update(invitations: QuerySet[Invitation], public_id: str) -> Invitation:
    """One of these, locked until the end of the transaction; NotFound for anything else."""
    invitation = invitations.select_for_update(of=("self",)).filter(public_id=public_id).first()
    if invitation is None:
        raise NotFound
    return invitation


def living_keys_of(firm: Firm) -> QuerySet[ApiKey]:
    """The keys that were not revoked."""
    return ApiKey.objects.filter(firm=firm, revoked_at=None)
