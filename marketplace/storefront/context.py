"""What every template knows: the theme, the caller and the caller's firms."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from marketplace.accounts.authentication import session_caller
from marketplace.accounts.models import Membership, User
from marketplace.accounts.selectors import invitations_for

THEMES = ("paper", "soil")
THEME_COOKIE = "theme"


def storefront(request: HttpRequest) -> dict[str, Any]:
    """The context processor of the pages."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    user = getattr(request, "user", None)
    return {
        "theme": theme if theme in THEMES else "",
        "caller": SimpleLazyObject(lambda: session_caller(request)) if isinstance(user, User) else None,
        "invitation_count": SimpleLazyObject(lambda: invitations_for(user).count()) if isinstance(user, User) else 0,
        "memberships": _memberships(user) if isinstance(user, User) else [],
    }


def _memberships(user: User) -> Any:
    return SimpleLazyObject(lambda: list(Membership.objects.filter(user=user).select_related("firm").order_by("pk")))
