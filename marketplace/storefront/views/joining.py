"""The members of a firm, whom it invites, and what a person answers."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from marketplace.accounts.authentication import SESSION_FIRM, Caller, require
from marketplace.accounts.joining import (
    Invited,
    accept_invitation,
    decline_invitation,
    set_member,
    withdraw_invitation,
)
from marketplace.accounts.models import User
from marketplace.accounts.roles import Scope
from marketplace.accounts.selectors import invitations_for, invitations_of, members_of
from marketplace.accounts.services import remove_member
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.storefront.forms.accounts import MemberForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page, person_page, sentence

CODE_SHOWN_ONCE = "invitation_code_shown_once"


@require_http_methods(["GET", "POST"])
@firm_page
def members_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Who works for the firm, in which role, and who is invited."""
    form = MemberForm(request.POST or None)
    if form.is_valid() and _set(request, caller, form):
        return redirect("storefront:members")
    context = {
        "form": form,
        "members": members_of(caller.firm).order_by("pk"),
        "invitations": invitations_of(caller.firm).order_by("pk"),
        "new_code": request.session.pop(CODE_SHOWN_ONCE, ""),
        "may_change": Scope.ADMIN in caller.scopes,
    }
    status = FORM_REFUSED if form.errors else 200
    response = render(request, "storefront/account/members.html", context, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@firm_page
def member_remove(request: HttpRequest, caller: Caller, user_id: str) -> HttpResponse:
    """Take a person's role away."""
    require(caller, Scope.ADMIN)
    try:
        remove_member(firm=caller.firm, user_public_id=user_id, actor=caller.actor, now=clock.now())
        messages.success(request, "The member was removed.")
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("storefront:members")


@require_POST
@firm_page
def withdraw(request: HttpRequest, caller: Caller, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    require(caller, Scope.ADMIN)
    withdraw_invitation(firm=caller.firm, public_id=invitation_id, actor=caller.actor, now=clock.now())
    messages.success(request, "The invitation is withdrawn.")
    return redirect("storefront:members")


@require_safe
@person_page
def invitations_page(request: HttpRequest, person: User) -> HttpResponse:
    """Which firms have invited the person."""
    context = {"invitations": invitations_for(person).order_by("pk")}
    return render(request, "storefront/account/invitations.html", context)


@require_POST
@person_page
def accept(request: HttpRequest, person: User, invitation_id: str) -> HttpResponse:
    """Join the firm and act for it from now on."""
    code = request.POST.get("code", "")
    try:
        joined = accept_invitation(user=person, public_id=invitation_id, code=code, now=clock.now())
    except DomainError as error:
        messages.error(request, sentence(error.detail))
        return redirect("storefront:invitations")
    request.session[SESSION_FIRM] = joined.firm.public_id
    messages.success(request, f"You work for {joined.firm.name} now.")
    return redirect("storefront:home")


@require_POST
@person_page
def decline(request: HttpRequest, person: User, invitation_id: str) -> HttpResponse:
    """Do not join."""
    decline_invitation(user=person, public_id=invitation_id, now=clock.now())
    messages.success(request, "The invitation is declined.")
    return redirect("storefront:invitations")


def _set(request: HttpRequest, caller: Caller, form: MemberForm) -> bool:
    require(caller, Scope.ADMIN)
    values: dict[str, Any] = form.cleaned_data
    try:
        found = set_member(
            firm=caller.firm, email=values["email"], role=values["role"], actor=caller.actor, now=clock.now()
        )
    except DomainError as error:
        blame(form, error)
        return False
    if isinstance(found, Invited):
        request.session[CODE_SHOWN_ONCE] = found.code
        messages.success(request, f"{found.invitation.user.email} is invited.")
    else:
        messages.success(request, f"{found.user.email} has the role now.")
    return True
