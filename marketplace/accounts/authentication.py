"""Who calls: a firm's key, or a signed-in person acting for a firm. `request.auth` is a Caller either way."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from marketplace.accounts.keys import is_well_formed, key_hash
from marketplace.accounts.models import ApiKey, Firm, Membership, User
from marketplace.common import clock
from marketplace.common.errors import NotAllowed, NotFound, Unauthorised

if TYPE_CHECKING:  # DRF's settings import this module while rest_framework.views is being imported
    from rest_framework.views import APIView

SESSION_FIRM = "firm"
LAST_USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """The firm that a request acts for, what it may do, and who is behind it (for the audit log)."""

    firm: Firm
    scopes: frozenset[str]
    actor: str
    user: User | None = None


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer fal_live_…`."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = clock.now()
        key = _living_key(text.strip(), now)
        if key is None:
            raise AuthenticationFailed("this API key is unknown, expired or revoked")
        if key.last_used_at is None or now - key.last_used_at > LAST_USED_EVERY:
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        return AnonymousUser(), Caller(firm=key.firm, scopes=frozenset(key.scopes) | {"read"}, actor=key.public_id)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _living_key(text: str, now: datetime) -> ApiKey | None:
    if not is_well_formed(text):
        return None
    key = ApiKey.objects.select_related("firm").filter(key_hash=key_hash(text), revoked_at=None).first()
    return None if key is None or (key.expires_at and key.expires_at <= now) else key


class FirmSessionAuthentication(SessionAuthentication):
    """A signed-in person; with CSRF protection, as for pages."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        _require_own_password(found[0])
        caller = session_caller(request._request)
        return None if caller is None else (found[0], caller)


def person_of(request: Request) -> User:
    """The signed-in person, for what concerns a person and no firm; to a firm's key there is no such thing."""
    if isinstance(request.auth, Caller) and not isinstance(request.user, User):
        raise NotFound
    if not isinstance(request.user, User):
        raise Unauthorised("sign in first")
    _require_own_password(request.user)
    return request.user


def _require_own_password(user: User) -> None:
    if user.must_change_password:
        raise NotAllowed("choose a password of your own first, on the pages", code="password_change_required")


def session_caller(request: HttpRequest) -> Caller | None:
    """The caller behind a page: the firm chosen in the session, else the person's first."""
    user = request.user
    if not isinstance(user, User):
        return None
    memberships = Membership.objects.filter(user=user).select_related("firm").order_by("pk")
    chosen = request.session.get(SESSION_FIRM)
    membership = memberships.filter(firm__public_id=chosen).first() if chosen else None
    membership = membership or memberships.first()
    if membership is None:
        return None
    return Caller(firm=membership.firm, scopes=membership.scopes, actor=user.public_id, user=user)


class HasFirm(BasePermission):
    """The API is for firms; public views say so by AllowAny."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, Caller)


def require(caller: Caller, scope: str) -> None:
    """NotAllowed unless the caller's role or key has the scope."""
    require_any(caller, [scope])


def require_any(caller: Caller, scopes: Collection[str]) -> None:
    """NotAllowed unless the caller's role or key has one of the scopes."""
    if not caller.scopes & set(scopes):
        raise NotAllowed(f"this needs the scope {' or '.join(scopes)}", code="scope_missing")


def caller_of(request: Request) -> Caller:
    """The authenticated caller of an API request."""
    assert isinstance(request.auth, Caller)
    return request.auth
