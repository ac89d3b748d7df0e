"""Request ids and the content security policy, on every answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from marketplace.common.ids import random_text

_SAFE_ID = re.compile(r"[\w.-]{1,64}")
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class RequestIdMiddleware:
    """Echoes the caller's X-Request-Id, or makes one; errors carry it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _SAFE_ID.fullmatch(given) else random_text(16)
        request.META["fallow.request_id"] = request_id
        response = self.get_response(request)
        response.headers.setdefault("X-Request-Id", request_id)
        return response


class ContentSecurityPolicyMiddleware:
    """Pages load nothing from other hosts and run no inline script."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class RateHeadersMiddleware:
    """Tells every API caller what is left of its bucket."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in request.META.get("fallow.rate", {}).items():
            response.headers[name] = value
        return response
