"""Health, readiness, the API's browsable page, and what happens when there is no page or something broke."""

from __future__ import annotations

import functools

import redis
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults
from django.views.decorators.http import require_safe

from marketplace.common import hints
from marketplace.common.api import problem
from marketplace.common.errors import DomainError, NotAllowed, NotFound, TooLarge

MACHINE_PATHS = ("/api/", "/agent/")


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "alive"})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """The process can do its work; 503 names what is missing."""
    checks = {"database": _database_trouble(), "redis": _redis_trouble()}
    troubles = {name: trouble for name, trouble in checks.items() if trouble}
    return JsonResponse({"status": "not ready" if troubles else "ready"} | troubles, status=503 if troubles else 200)


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Swagger UI, served from here, with no inline script."""
    return render(request, "common/api_docs.html")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, such as a body that is too large."""
    return _problem(request, DomainError("this request can't be read")) or defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 outside of a view."""
    return _problem(request, NotAllowed("this is not allowed")) or defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 for an unknown path: a problem for machines, a page for people."""
    return _problem(request, NotFound()) or defaults.page_not_found(request, exception)


def too_large(request: HttpRequest, bytes_max: int) -> HttpResponse:
    """413: nothing of the body was read."""
    error = TooLarge(f"at most {bytes_max} bytes can be sent here")
    return _problem(request, error) or render(request, "413.html", {"mib": bytes_max // 2**20}, status=413)


def broken(request: HttpRequest) -> HttpResponse:
    """500: our mistake; the log has it under the request id."""
    error = DomainError("something broke on our side; the request id finds it in the log", code="internal")
    error.status, error.title = 500, "Internal error"
    return _problem(request, error) or defaults.server_error(request)


def _problem(request: HttpRequest, error: DomainError) -> HttpResponse | None:
    if not request.path.startswith(MACHINE_PATHS):
        return None
    body = problem(error, request.META.get("fallow.request_id", ""))
    return JsonResponse(body, status=error.status, content_type="application/problem+json")


def _database_trouble() -> str:
    try:
        missing = _known_migrations() - set(MigrationRecorder(connection).applied_migrations())
    except DatabaseError:
        return "PostgreSQL does not answer"
    return f"{len(missing)} migrations are not applied" if missing else ""


@functools.cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def _redis_trouble() -> str:
    try:
        hints.connection().ping()
    except redis.RedisError:
        return "Redis does not answer"
    return ""
