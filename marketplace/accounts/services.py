"""Signing up, members and API keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from marketplace.accounts import passwords
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
def create_user(*, email: str, password: str, is_operator: bool = False, must_change_password: bool = False) -> User:
    """A person who can sign in."""
    check_password_strength(password, User(email=email))
    try:
        with transaction.atomic():
            return User.objects.create_user(
                email, password, is_operator=is_operator, must_change_password=must_change_password
            )
    except IntegrityError as error:
        raise Conflict("this e-mail address has an account: sign in instead", code="email_taken") from error


def check_password_strength(password: str, user: User) -> None:
    """Raises Invalid for a password that is too weak for this person."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(
            "the password is too weak",
            code="weak_password",
            errors=tuple(FieldError("/password", "weak", text) for text in error.messages),
        ) from error


def change_password(*, user: User, current: str, new: str, address: str, now: datetime) -> None:
    """The person, at this address, chooses another password; every other session of theirs ends.

    Raises Invalid, and TooManyTries.
    """
    passwords.check(person=user, password=current, pointer="/current", address=address, now=now)
    if current == new:
        detail = "choose another one than before"
        raise Invalid(detail, errors=(FieldError("/password", "same", detail),))
    check_password_strength(new, user)
    with transaction.atomic():
        user.set_password(new)
        user.must_change_password = False
        user.save(update_fields=["password", "must_change_password"])
        record_event(firm_id=None, type="user.password_changed", subject=user.public_id, actor=user.public_id, now=now)


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
