"""Signing up, members and API keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from marketplace.accounts.keys import key_hash, key_hint, new_key
from marketplace.accounts.models import ApiKey, Firm, Membership, User
from marketplace.accounts.roles import Role, Scope
from marketplace.common.errors import Conflict, FieldError, Invalid, NotFound
from marketplace.events.services import record_event


@dataclass(frozen=True, slots=True)
class FirmDetails:
    """What a firm says of itself; an empty parent means that it has none above it."""

    name: str
    headquarters_country: str
    intended_use: str
    ultimate_parent: str = ""
    ultimate_parent_country: str = ""


@transaction.atomic
def sign_up(*, email: str, password: str, firm: FirmDetails, now: datetime) -> Membership:
    """A new person with a new firm that is theirs. Raises Invalid for a weak password, Conflict for a known address."""
    user = create_user(email=email, password=password)
    created = create_firm(details=firm, now=now)
    return add_member(firm=created, user=user, role=Role.OWNER, actor=user.public_id, now=now)


@transaction.atomic
def create_user(*, email: str, password: str, is_operator: bool = False) -> User:
    """A person who can sign in."""
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise Invalid(
            "the password is too weak",
            code="weak_password",
            errors=tuple(FieldError("/password", "weak", text) for text in error.messages),
        ) from error
    try:
        with transaction.atomic():
            return User.objects.create_user(email, password, is_operator=is_operator)
    except IntegrityError as error:
        raise Conflict("this e-mail address has an account: sign in instead", code="email_taken") from error


@transaction.atomic
def create_firm(*, details: FirmDetails, now: datetime) -> Firm:
    """A firm without members."""
    return Firm.objects.create(
        name=details.name,
        headquarters_country=details.headquarters_country.upper(),
        ultimate_parent=details.ultimate_parent,
        ultimate_parent_country=(details.ultimate_parent_country or details.headquarters_country).upper(),
        intended_use=details.intended_use,
        created_at=now,
    )


@transaction.atomic
def add_member(*, firm: Firm, user: User, role: str, actor: str, now: datetime) -> Membership:
    """Give a person a role in the firm, or another role than before. A firm keeps at least one owner."""
    owners = list(Membership.objects.select_for_update().filter(firm=firm, role=Role.OWNER).order_by("pk"))
    if role != Role.OWNER and [each.user_id for each in owners] == [user.pk]:
        raise Conflict("a firm keeps at least one owner", code="last_owner")
    membership, _ = Membership.objects.update_or_create(
        firm=firm, user=user, defaults={"role": role}, create_defaults={"role": role, "created_at": now}
    )
    record_event(firm_id=firm.pk, type="member.set", subject=user.public_id, actor=actor, data={"role": role}, now=now)
    return membership


@transaction.atomic
def set_member(
    *, firm: Firm, email: str, role: str, now: datetime, actor: str, password: str | None = None
) -> Membership:
    """Give a role to the person with this address; `password` makes a sign-in for somebody who has none.

    Raises Conflict: `no_such_person` or `last_owner`.
    """
    user = User.objects.filter(email__iexact=email).first()
    if user is None and password is None:
        raise Conflict("nobody signs in with this address: give a first password", code="no_such_person")
    user = user or create_user(email=email, password=password or "")
    return add_member(firm=firm, user=user, role=role, actor=actor, now=now)


@transaction.atomic
def remove_member(*, firm: Firm, user_public_id: str, actor: str, now: datetime) -> None:
    """Take a person's role away. A firm keeps at least one owner."""
    members = list(Membership.objects.select_for_update().filter(firm=firm).select_related("user").order_by("pk"))
    leaving = next((each for each in members if each.user.public_id == user_public_id), None)
    if leaving is None:
        raise NotFound
    if not any(each.role == Role.OWNER for each in members if each is not leaving):
        raise Conflict("a firm keeps at least one owner", code="last_owner")
    leaving.delete()
    record_event(firm_id=firm.pk, type="member.removed", subject=user_public_id, actor=actor, now=now)


@transaction.atomic
def create_api_key(
    *,
    firm: Firm,
    name: str,
    scopes: Collection[str],
    now: datetime,
    user: User | None = None,
    expires_at: datetime | None = None,
    actor: str = "",
) -> tuple[ApiKey, str]:
    """A key and its text; the text can't be had again."""
    unknown = sorted(set(scopes) - set(Scope.values))
    if unknown or not scopes:
        raise Invalid(f"scopes are some of {', '.join(Scope.values)}", code="bad_scopes")
    text = new_key()
    key = ApiKey.objects.create(
        firm=firm,
        name=name,
        key_hash=key_hash(text),
        hint=key_hint(text),
        scopes=sorted(set(scopes)),
        created_by=user,
        created_at=now,
        expires_at=expires_at,
    )
    actor = actor or (user.public_id if user else "system")
    record_event(firm_id=firm.pk, type="api_key.created", subject=key.public_id, actor=actor, now=now)
    return key, text


@transaction.atomic
def revoke_api_key(*, firm: Firm, public_id: str, actor: str, now: datetime) -> None:
    """End a key at once."""
    if not ApiKey.objects.filter(firm=firm, public_id=public_id, revoked_at=None).update(revoked_at=now):
        raise NotFound
    record_event(firm_id=firm.pk, type="api_key.revoked", subject=public_id, actor=actor, now=now)
