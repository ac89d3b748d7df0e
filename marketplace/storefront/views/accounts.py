"""Signing in and up, choosing the firm and the password, and the keys of the firm."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from marketplace.accounts.authentication import SESSION_FIRM, Caller, require
from marketplace.accounts.models import ApiKey, Membership, User
from marketplace.accounts.passwords import sign_in
from marketplace.accounts.roles import Scope
from marketplace.accounts.services import (
    FirmDetails,
    change_password,
    create_api_key,
    revoke_api_key,
    sign_up,
)
from marketplace.common import clock
from marketplace.common.addresses import client_address
from marketplace.common.errors import DomainError, NotFound
from marketplace.storefront.context import THEME_COOKIE, THEMES
from marketplace.storefront.forms.accounts import KeyForm, PasswordForm, SignInForm, SignUpForm
from marketplace.storefront.http import blame, firm_page, form_status, person_page, safe_next

THEME_SECONDS = 31_536_000
KEY_SHOWN_ONCE = "key_shown_once"


@require_http_methods(["GET", "POST"])
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """E-mail address and password."""
    form = SignInForm(request.POST or None)
    if form.is_valid() and (person := _sign_in(request, form)):
        login(request, person)
        if person.must_change_password:
            return redirect("storefront:password")
        return redirect(safe_next(request, settings.LOGIN_REDIRECT_URL))
    context = {"form": form, "next": request.POST.get("next") or request.GET.get("next", "")}
    return render(request, "storefront/account/sign_in.html", context, status=form_status(form))


def _sign_in(request: HttpRequest, form: SignInForm) -> User | None:
    try:
        person = sign_in(address=client_address(request), now=clock.now(), **form.cleaned_data)
    except DomainError as error:
        blame(form, error)
        return None
    if person is None:
        form.add_error(None, "There is no account with this address and password.")
    return person


@require_http_methods(["GET", "POST"])
def sign_up_page(request: HttpRequest) -> HttpResponse:
    """A person and a firm in one go."""
    form = SignUpForm(request.POST or None)
    if form.is_valid() and (membership := _sign_up(form)):
        login(request, membership.user, backend="django.contrib.auth.backends.ModelBackend")
        messages.success(request, f"Welcome. {membership.firm.name} is ready to buy and sell.")
        return redirect("storefront:home")
    return render(request, "storefront/account/sign_up.html", {"form": form}, status=form_status(form))


def _sign_up(form: SignUpForm) -> Membership | None:
    values = dict(form.cleaned_data)
    email, password = values.pop("email"), values.pop("password")
    try:
        return sign_up(email=email, password=password, firm=FirmDetails(**values), now=clock.now())
    except DomainError as error:
        blame(form, error)
        return None


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("storefront:home")


@require_POST
@firm_page
def switch_firm(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Act for another firm of the same person."""
    wanted = request.POST.get("firm", "")
    if not Membership.objects.filter(user=caller.user, firm__public_id=wanted).exists():
        raise NotFound
    request.session[SESSION_FIRM] = wanted
    return redirect("storefront:home")


@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """The other theme; only for browsers without scripts, others set the cookie themselves."""
    light, dark = THEMES
    response = redirect(safe_next(request, "/"))
    chosen = light if request.COOKIES.get(THEME_COOKIE) == dark else dark
    response.set_cookie(THEME_COOKIE, chosen, max_age=THEME_SECONDS, samesite="Lax", secure=request.is_secure())
    return response


@require_http_methods(["GET", "POST"])
@person_page
def password_page(request: HttpRequest, person: User) -> HttpResponse:
    """Choose another password; whoever was given the first one by a firm does so at the first sign-in."""
    form = PasswordForm(request.POST or None)
    if form.is_valid():
        given, address = form.cleaned_data, client_address(request)
        try:
            change_password(
                user=person, current=given["current"], new=given["password"], address=address, now=clock.now()
            )
            update_session_auth_hash(request, person)
            messages.success(request, "The password is changed.")
            return redirect("storefront:home")
        except DomainError as error:
            blame(form, error)
    return render(request, "storefront/account/password.html", {"form": form}, status=form_status(form))


@require_http_methods(["GET", "POST"])
@firm_page
def keys_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The firm's API keys; the text of a new one is shown once."""
    form = KeyForm(request.POST or None)
    if form.is_valid():
        require(caller, Scope.ADMIN)
        values: dict[str, Any] = form.cleaned_data
        _, text = create_api_key(
            firm=caller.firm, name=values["name"], scopes=values["scopes"], user=caller.user, now=clock.now()
        )
        request.session[KEY_SHOWN_ONCE] = text
        return redirect("storefront:keys")
    keys = ApiKey.objects.filter(firm=caller.firm).order_by("-pk")[:100]
    shown_once = request.session.pop(KEY_SHOWN_ONCE, "")
    context = {"form": form, "keys": keys, "new_key": shown_once, "may_change": Scope.ADMIN in caller.scopes}
    response = render(request, "storefront/account/keys.html", context, status=form_status(form))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@firm_page
def key_revoke(request: HttpRequest, caller: Caller, key_id: str) -> HttpResponse:
    """End a key at once."""
    require(caller, Scope.ADMIN)
    revoke_api_key(firm=caller.firm, public_id=key_id, actor=caller.actor, now=clock.now())
    messages.success(request, "The key is revoked.")
    return redirect("storefront:keys")
