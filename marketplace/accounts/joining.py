"""How people come into a firm: somebody new with a first password, everybody else by accepting an invitation."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from django.db import transaction

from marketplace.accounts.models import Firm, Invitation, Membership, User
from marketplace.accounts.selectors import invitation_for_update, invitations_for, invitations_of
from marketplace.accounts.services import add_member, create_user
from marketplace.common.errors import Conflict, FieldError, Invalid
from marketplace.common.ids import random_text
from marketplace.events.services import record_event

CODE_LENGTH = 16  # 95 bits


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation and its code, which can't be had again."""

    invitation: Invitation
    code: str


@transaction.atomic
def set_member(
    *, firm: Firm, email: str, role: str, now: datetime, actor: str, password: str | None = None
) -> Membership | Invited:
    """Give a role to the person with this address: at once to a member or to somebody new, who gets `password` until
    the first sign-in; anybody else who has an account is invited.

    Raises Conflict: `no_such_person`, `person_exists` or `last_owner`.
    """
    user = User.objects.of_email(email).first()
    if user is None:
        if password is None:
            _refuse("no_such_person", "nobody signs in with this address: give a first password")
        user = create_user(email=email, password=password or "", must_change_password=True)
        return add_member(firm=firm, user=user, role=role, actor=actor, now=now)
    if password is not None:
        _refuse("person_exists", "somebody signs in with this address already: leave the password out to invite them")
    if Membership.objects.filter(firm=firm, user=user).exists():
        return add_member(firm=firm, user=user, role=role, actor=actor, now=now)
    return _invite(firm, user, role, actor, now)


@transaction.atomic
def accept_invitation(*, user: User, public_id: str, code: str, now: datetime) -> Membership:
    """The person joins. Raises NotFound, and Invalid for a wrong code."""
    invitation = invitation_for_update(invitations_for(user), public_id)
    if not hmac.compare_digest(bytes(invitation.code_hash), _hash(code)):
        raise Invalid(
            "this is not the code of the invitation: ask who invited you",
            code="wrong_code",
            errors=(FieldError("/code", "wrong", "this is not the code that the firm was given"),),
        )
    membership = add_member(firm=invitation.firm, user=user, role=invitation.role, actor=user.public_id, now=now)
    _end(invitation, "accepted", user.public_id, now)
    return membership


@transaction.atomic
def decline_invitation(*, user: User, public_id: str, now: datetime) -> None:
    """The person does not join. Raises NotFound."""
    _end(invitation_for_update(invitations_for(user), public_id), "declined", user.public_id, now)


@transaction.atomic
def withdraw_invitation(*, firm: Firm, public_id: str, actor: str, now: datetime) -> None:
    """The firm takes it back. Raises NotFound."""
    _end(invitation_for_update(invitations_of(firm), public_id), "withdrawn", actor, now)


def _invite(firm: Firm, user: User, role: str, actor: str, now: datetime) -> Invited:
    code = random_text(CODE_LENGTH)
    invitation, _ = Invitation.objects.update_or_create(
        firm=firm, user=user, defaults={"role": role, "code_hash": _hash(code), "created_at": now}
    )
    _record(invitation, "created", actor, now)
    return Invited(invitation, code)


def _end(invitation: Invitation, how: str, actor: str, now: datetime) -> None:
    _record(invitation, how, actor, now)
    invitation.delete()


def _record(invitation: Invitation, how: str, actor: str, now: datetime) -> None:
    record_event(
        firm_id=invitation.firm_id,
        type=f"invitation.{how}",
        subject=invitation.public_id,
        actor=actor,
        data={"person": invitation.user.public_id, "role": invitation.role},
        now=now,
    )


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.strip().encode()).digest()


def _refuse(code: str, detail: str) -> NoReturn:
    raise Conflict(detail, code=code, errors=(FieldError("/email", code, detail),))
