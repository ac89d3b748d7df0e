"""Adding hosts: a token that is shown once, and the line that a host runs."""

from __future__ import annotations

import shlex
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from marketplace.accounts.authentication import Caller, require
from marketplace.accounts.roles import Scope
from marketplace.common import clock
from marketplace.common.errors import DomainError
from marketplace.storefront.forms.selling import TokenForm
from marketplace.storefront.http import FORM_REFUSED, blame, firm_page
from nodes.models import EnrolmentToken
from nodes.services.enrolment import create_enrolment_token, revoke_enrolment_token

TOKEN_SHOWN_ONCE = "enrolment_token_shown_once"  # noqa: S105  # the name of a session key
TOKENS_SHOWN = 50


@require_http_methods(["GET", "POST"])
@firm_page
def enrol_page(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Make a token; run the line; watch the hosts come."""
    form = TokenForm(request.POST or None)
    if form.is_valid() and (text := _create(caller, form)):
        request.session[TOKEN_SHOWN_ONCE] = text
        return redirect("storefront:enrol")
    shown_once = request.session.pop(TOKEN_SHOWN_ONCE, "")
    tokens = EnrolmentToken.objects.filter(firm=caller.firm, revoked_at=None, expires_at__gt=clock.now())
    context = {
        "form": form,
        "tokens": tokens.order_by("-pk")[:TOKENS_SHOWN],
        "line": install_line(shown_once) if shown_once else "",
        "may_enrol": Scope.FLEET in caller.scopes,
        "proves_hosts": settings.PROVING_LEASE_SECONDS > 0,
    }
    response = render(request, "storefront/sell/enrol.html", context, status=FORM_REFUSED if form.errors else 200)
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@firm_page
def token_revoke(request: HttpRequest, caller: Caller, token_id: str) -> HttpResponse:
    """No further host can join with it."""
    require(caller, Scope.FLEET)
    revoke_enrolment_token(firm=caller.firm, public_id=token_id, actor=caller.actor, now=clock.now())
    return redirect("storefront:enrol")


def install_line(token: str) -> str:
    """What a host runs, unattended, to join and to report."""
    server, token = shlex.quote(settings.PUBLIC_URL), shlex.quote(token)
    return f"fallow-agent enrol --server {server} --token {token} && fallow-agent run"


def _create(caller: Caller, form: TokenForm) -> str:
    require(caller, Scope.FLEET)
    values, now = form.cleaned_data, clock.now()
    try:
        _, text = create_enrolment_token(
            firm=caller.firm,
            name=values["name"],
            uses=values["uses"],
            expires_at=now + timedelta(hours=values["hours"]),
            now=now,
            user=caller.user,
            actor=caller.actor,
        )
    except DomainError as error:
        blame(form, error)
        return ""
    return text
