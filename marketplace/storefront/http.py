"""What every page view shares: who asks, what a refusal looks like, and short lists."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from django import forms
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import NON_FIELD_ERRORS
from django.db import DataError, IntegrityError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from marketplace.accounts.authentication import Caller, session_caller
from marketplace.accounts.models import User
from marketplace.accounts.passwords import TooManyTries
from marketplace.common.api import uncaught
from marketplace.common.errors import DomainError, NotAllowed, NotFound

Arguments = ParamSpec("Arguments")
Row = TypeVar("Row", bound=Model)
View = Callable[Concatenate[HttpRequest, Arguments], HttpResponse]
PersonView = Callable[Concatenate[HttpRequest, User, Arguments], HttpResponse]
FirmView = Callable[Concatenate[HttpRequest, Caller, Arguments], HttpResponse]

ROWS_PER_PAGE = 25
FORM_REFUSED = 422


def page(view: View[Arguments]) -> View[Arguments]:
    """A view whose DomainErrors, and what the database refuses, become an error page with their status."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except DomainError as error:
            return error_page(request, error)
        except (DataError, IntegrityError) as error:
            known = uncaught(error)
            assert known is not None
            return error_page(request, known)

    return wrapped


def firm_page(view: FirmView[Arguments]) -> View[Arguments]:
    """A page for members of a firm: it gets the caller; others are asked to sign in."""

    @page
    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponse:
        caller = session_caller(request)
        if isinstance(request.user, User) and request.user.must_change_password:
            return redirect("storefront:password")
        if caller is not None:
            return view(request, caller, *args, **kwargs)
        if request.user.is_authenticated:
            raise NotAllowed("this page is for members of a firm", code="no_firm")
        return redirect_to_login(request.get_full_path())

    return wrapped


def person_page(view: PersonView[Arguments]) -> View[Arguments]:
    """A page for whoever has signed in, with a firm or without."""

    @page
    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponse:
        if isinstance(request.user, User):
            return view(request, request.user, *args, **kwargs)
        return redirect_to_login(request.get_full_path())

    return wrapped


def operator_page(view: View[Arguments]) -> View[Arguments]:
    """A page for operators; for everybody else it does not exist."""

    @page
    @functools.wraps(view)
    def wrapped(request: HttpRequest, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> HttpResponse:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path())
        if not request.user.is_operator:
            raise NotFound
        return view(request, *args, **kwargs)

    return wrapped


def error_page(request: HttpRequest, error: DomainError) -> HttpResponse:
    """A refusal, said in words."""
    context = {
        "title": error.title,
        "detail": sentence(error.detail),
        "request_id": request.META.get("fallow.request_id", ""),
    }
    return render(request, "storefront/error.html", context, status=error.status)


def sentence(text: str) -> str:
    """An error's text as a sentence."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def blame(form: forms.Form, error: DomainError, fields: Mapping[str, str] | None = None) -> None:
    """Show a service's refusal in the form; `fields` maps JSON pointers to the names of form fields."""
    named = {f"/{name}": name for name in form.fields} | dict(fields or {})
    for each in error.errors:
        form.add_error(named.get(each.pointer), sentence(each.detail))
    if not error.errors:
        form.add_error(None, forms.ValidationError(sentence(error.detail), code=error.code))


def form_status(form: forms.Form) -> int:
    """The status of a page with this form: whether it is refused, and for a while whatever is in it."""
    if form.has_error(NON_FIELD_ERRORS, TooManyTries.code):
        return TooManyTries.status
    return FORM_REFUSED if form.errors else 200


def safe_next(request: HttpRequest, default: str) -> str:
    """Where the form asks to go afterwards, when that is a page of ours."""
    wanted = request.POST.get("next", "")
    allowed = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if allowed else default


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, newest first; `older` is where the next page begins."""

    rows: list[Row]
    older: int | None
    newer: bool


def newest_first(rows: QuerySet[Row], request: HttpRequest) -> Page[Row]:
    """One page of rows by key, without counting them."""
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 19:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: ROWS_PER_PAGE + 1])
    shown = found[:ROWS_PER_PAGE]
    older = shown[-1].pk if len(found) > ROWS_PER_PAGE else None
    return Page(rows=shown, older=older, newer=bool(before))


def names(values: Iterable[Any]) -> str:
    """A short list in words."""
    return ", ".join(str(value) for value in values)
